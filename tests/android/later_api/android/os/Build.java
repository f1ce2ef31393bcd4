package android.os;

/** What the app uses of this class, with what came after the API of Debian's android.jar. */
public class Build {
    public static final String HARDWARE = String.valueOf("");
    public static final String MANUFACTURER = String.valueOf("");
    public static final String MODEL = String.valueOf("");

    /** API 31. */
    public static final String SOC_MANUFACTURER = String.valueOf("");

    /** API 31. */
    public static final String SOC_MODEL = String.valueOf("");

    public static class VERSION {
        public static final String RELEASE = String.valueOf("");
        public static final int SDK_INT = Integer.parseInt("0");
    }

    public static class VERSION_CODES {
        public static final int Q = 29;
        public static final int S = 31;
    }
}

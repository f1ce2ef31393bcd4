package android.os;

/** What the app uses of this class, with what came after the API of Debian's android.jar. */
public final class PowerManager {
    /** API 29. */
    public int getCurrentThermalStatus() {
        throw new RuntimeException("Stub!");
    }
}

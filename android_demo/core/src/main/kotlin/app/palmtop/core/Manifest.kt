package app.palmtop.core

import org.json.JSONException
import org.json.JSONObject
import java.io.InputStream
import java.security.MessageDigest

/** A file of an app's folder as its manifest states it. */
public class FileEntry(
    public val sizeBytes: Long,
    /** Lower-case hexadecimal. */
    public val sha256: String,
)

/** How far another machine's golden answers may be from those that were recorded, as shares of the outputs' spread. */
public class Tolerance(
    /** The largest difference. */
    public val difference: Double,
    /** The root mean square of all differences. */
    public val typical: Double,
    /** Least share of texts with the same first answer. */
    public val agreement: Double,
)

/** An app's folder isn't what its manifest says; the message names the file. */
public class DamagedModel(
    message: String,
) : Exception(message)

/** manifest.json: what an app's folder says of itself. */
public class Manifest(
    /** The model's name, for people. */
    public val name: String,
    public val description: String,
    /** The app's own version of the model. */
    public val version: String,
    /** What the model does: one of [Kind]. */
    public val kind: Kind,
    /** What is asked at a time: 1 text, or 2 (a pair; a question and its context). */
    public val texts: Int,
    /** Of the model file, such as dynamic_int8. */
    public val precision: String,
    public val tolerance: Tolerance,
    /** How many golden answers there are; null in folders from before it was stated. */
    public val goldenTexts: Int?,
    /** Versions with which the golden answers were made, by name. */
    public val versions: Map<String, String>,
    /** Every file of the folder but the manifest, by name. */
    public val files: Map<String, FileEntry>,
    /** Sha256 of manifest.json itself: another one is another model. */
    public val digest: String,
) {
    /**
     * Read a file to its end and compare it with the manifest.
     *
     * @throws DamagedModel it is another file, or the manifest knows none of this name.
     */
    public fun check(
        file: String,
        content: InputStream,
    ) {
        val stated = files[file] ?: throw DamagedModel("$file isn't among the files of $FILE")
        val digest = MessageDigest.getInstance("SHA-256")
        val buffer = ByteArray(BUFFER_BYTES)
        while (true) {
            val count = content.read(buffer)
            if (count < 0) break
            digest.update(buffer, 0, count)
        }
        if (hex(digest.digest()) != stated.sha256) {
            throw DamagedModel("$file is damaged: its sha256 isn't that of $FILE")
        }
    }

    public companion object {
        /** Its name in the folder. */
        public const val FILE: String = "manifest.json"
        private const val BUFFER_BYTES = 1 shl 16

        /** One model, or two that share the texts. */
        private val FORMATS = listOf("tflite", "tflite_cascade")

        /**
         * The manifest in the bytes of manifest.json.
         *
         * @throws DamagedModel it isn't one, or a .tflite isn't what it is of.
         */
        public fun fromJson(bytes: ByteArray): Manifest =
            try {
                read(JSONObject(String(bytes, Charsets.UTF_8)), hex(MessageDigest.getInstance("SHA-256").digest(bytes)))
            } catch (error: JSONException) {
                throw DamagedModel("$FILE is damaged: ${error.message}")
            }

        private fun read(
            json: JSONObject,
            digest: String,
        ): Manifest {
            val format = json.getString("format")
            if (format !in FORMATS) throw DamagedModel("$FILE is of a $format model: an Android app runs tflite")
            val tolerance = json.getJSONObject("tolerance")
            return Manifest(
                name = json.getString("name"),
                description = json.getString("description"),
                version = json.getString("version"),
                kind = Kind.named(json.getString("kind")),
                texts = json.getInt("texts"),
                precision = json.getString("precision"),
                tolerance =
                    Tolerance(
                        tolerance.getDouble("difference"),
                        tolerance.getDouble("typical"),
                        tolerance.getDouble("agreement"),
                    ),
                goldenTexts = if (json.isNull("golden_texts")) null else json.getInt("golden_texts"),
                versions = json.getJSONObject("versions").let { map -> map.keySequence().associateWith(map::getString) },
                files =
                    json.getJSONObject("files").let { map ->
                        map.keySequence().associateWith { name ->
                            val entry = map.getJSONObject(name)
                            FileEntry(entry.getLong("size_bytes"), entry.getString("sha256"))
                        }
                    },
                digest = digest,
            )
        }
    }
}

/** What a model does. */
public enum class Kind(
    /** As manifest.json has it. */
    public val word: String,
) {
    /** One label a text. */
    CLASSIFICATION("classification"),

    /** Any number of labels a text. */
    MULTI_LABEL("multi_label"),

    /** A number. */
    REGRESSION("regression"),

    /** A tag for every word. */
    TOKEN_CLASSIFICATION("token_classification"),

    /** A span of a context. */
    QUESTION_ANSWERING("question_answering"),
    ;

    public companion object {
        /** @throws DamagedModel there is no such kind here. */
        public fun named(word: String): Kind =
            entries.find { it.word == word } ?: throw DamagedModel("the model is for '$word', which this app doesn't know")
    }
}

internal fun JSONObject.keySequence(): Sequence<String> = keys().asSequence()

private fun hex(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it.toInt() and 0xff) }

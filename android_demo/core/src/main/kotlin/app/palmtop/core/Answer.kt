package app.palmtop.core

/** What a model says to one text, or to one pair. */
public sealed interface Answer {
    /** The text was longer than the model reads, and its end was cut off. */
    public val truncated: Boolean

    /** Labels with their probabilities: one label a text, or any number of them. */
    public class Labels(
        /** Every label, the most probable first. */
        public val ranked: List<Label>,
        /** Whether each label stands by itself (any number of them), with a threshold of its own. */
        public val several: Boolean,
        override val truncated: Boolean,
    ) : Answer {
        /** The labels that are given: the most probable one, or of several those that reach their thresholds. */
        public val given: List<Label> get() = ranked.filter { it.given }
    }

    /** The entities that a tagger found, in the order of the text. */
    public class Tags(
        public val entities: List<Entity>,
        override val truncated: Boolean,
    ) : Answer

    /** The answer to a question: `context.substring(begin, end)`. */
    public class Span(
        /** The words of the answer; empty where the context has none, or the best span is. */
        public val text: String,
        /** Its first character in the context. */
        public val begin: Int,
        /** The character after its last. */
        public val end: Int,
        /** Its probability among all spans of at most 30 tokens. */
        public val score: Double,
        override val truncated: Boolean,
    ) : Answer

    /** A regression's answer. */
    public class Number(
        public val value: Double,
        override val truncated: Boolean,
    ) : Answer
}

/** A label of a classifier. */
public class Label(
    public val name: String,
    /** From 0 to 1. */
    public val probability: Double,
    /** Whether the model gives this label to the text. */
    public val given: Boolean,
)

/** An entity as it stands in a text: `text.substring(begin, end)`. */
public class Entity(
    /** Its type. */
    public val label: String,
    public val text: String,
    /** Its first character. */
    public val begin: Int,
    /** The character after its last. */
    public val end: Int,
)

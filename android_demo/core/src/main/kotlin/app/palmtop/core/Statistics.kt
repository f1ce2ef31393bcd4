package app.palmtop.core

import kotlin.math.ceil

/** Percentiles of times, by nearest rank: each is one of the times that were taken. */
public class Statistics private constructor(
    private val sorted: DoubleArray,
) {
    /** How many times were taken. */
    public val n: Int get() = sorted.size

    /** The median. */
    public val p50: Double get() = percentile(50)

    /** The time that nine of ten stay within. */
    public val p90: Double get() = percentile(90)

    /** The time that 99 of a hundred stay within. */
    public val p99: Double get() = percentile(99)

    /** The shortest. */
    public val least: Double get() = sorted.first()

    /** The longest. */
    public val most: Double get() = sorted.last()

    /** The time that [percent] of a hundred stay within. */
    public fun percentile(percent: Int): Double {
        require(percent in 1..100) { "a percentile is from 1 to 100, not $percent" }
        return sorted[ceil(percent * n / 100.0).toInt() - 1]
    }

    public companion object {
        /** Of [times], of which there has to be at least one; in the unit that they are in. */
        public fun of(times: DoubleArray): Statistics {
            require(times.isNotEmpty()) { "no times were taken" }
            return Statistics(times.sortedArray())
        }
    }
}

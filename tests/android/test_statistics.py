"""The phone's percentiles against numpy's."""

import numpy as np
import pytest
from kotlin_jvm import Jvm


@pytest.mark.slow
def test_percentiles_are_numpys_by_nearest_rank(jvm: Jvm) -> None:
    random = np.random.default_rng(1)
    samples = [random.gamma(2, 3, count).tolist() for count in (1, 2, 3, 9, 10, 50, 99, 100, 101, 1000)]
    found = jvm.ask("statistics", jvm.classes, [{"times": times} for times in samples])
    for row, times in zip(found, samples, strict=True):
        half, nine, most = np.percentile(times, [50, 90, 99], method="inverted_cdf")
        assert row["found"] == [len(times), min(times), half, nine, most, max(times)]

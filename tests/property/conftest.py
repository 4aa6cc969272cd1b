"""Hypothesis profiles: `dev` for every run, `ci` for the pipeline, `deep` for a night. HYPOTHESIS_PROFILE chooses."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}

settings.register_profile("dev", max_examples=60, stateful_step_count=30, **_COMMON)
settings.register_profile("ci", max_examples=200, stateful_step_count=40, **_COMMON)
settings.register_profile(
    "deep", max_examples=1500, stateful_step_count=80, **{**_COMMON, "derandomize": False, "print_blob": True}
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

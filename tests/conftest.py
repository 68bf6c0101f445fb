"""Tests never touch the network; the variable is read when the hub's client is imported."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
# Several test processes on two cores: threads that wait for one another would only slow them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure: speed is measured in benchmarks/, never in a test.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

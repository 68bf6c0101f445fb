"""Tests never touch the network; the variable is read when the hub's client is imported."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

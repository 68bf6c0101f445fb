"""Data sets to measure on: each reader turns a folder, as it is published, into images and uses."""

from unisemalign.datasets.dataset import DataSet, Sample
from unisemalign.datasets.readers import READERS, Reader, read_dataset

__all__ = ["READERS", "DataSet", "Reader", "Sample", "read_dataset"]

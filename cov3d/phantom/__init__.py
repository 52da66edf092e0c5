"""A synthetic chest-CT dataset, for trials and tests without patients' data."""

from cov3d.phantom.scan import PhantomScan, make_scan
from cov3d.phantom.write import write_phantom

__all__ = ["PhantomScan", "make_scan", "write_phantom"]

"""cov3d: detect COVID-19, and grade how severe it is, from 3-D chest CT. Research use only."""

__version__ = "0.1.0"

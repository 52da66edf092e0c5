"""`python -m cov3d` is the command `cov3d`."""

from cov3d.app import main

if __name__ == "__main__":
    main()

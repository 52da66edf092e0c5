"""`python -m cov3d` runs the command `cov3d`."""

from cov3d.app import command_line

if __name__ == "__main__":
    command_line()

"""How many processors there are, and how many processes a piece of work is spread over."""


def cpus() -> int:
    """Processors that this process may use, by its affinity and by its container's quota."""
    from joblib import cpu_count

    return int(cpu_count())


def default_jobs(jobs: int | None) -> int:
    """The number of preprocessing processes: as given, else one for each processor."""
    return jobs or cpus()


def default_workers(workers: int | None, device_type: str, processes: int = 1) -> int:
    """The number of loading processes, for each of the `processes` on this machine.

    Args:
        workers: as given; None for the default.
        device_type: `cpu`, where the default is to load in the process itself, or `cuda`.
        processes: that train together on this machine.
    """
    if workers is not None:
        return workers
    return min(8, max(1, cpus() // processes)) if device_type == "cuda" else 0


def spread_over(processors: int, n_scans: int) -> dict[str, int]:
    """How to preprocess scans on several processors: `jobs` beside this process (0 for none), `threads` in each."""
    processes = max(1, min(processors, n_scans))
    return {"jobs": 0 if processes == 1 else processes, "threads": processors // processes}

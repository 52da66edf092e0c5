# Ensembles, submissions and their check, and the report.


def trained(numbers, folds):
    """The states of runs."""
    return expand(f"{STATE}/train/{{number}}-{{fold}}.done", number=numbers, fold=folds)


SET = config["submissions"] or f"{STATE}/sets.json"


rule ensemble:
    input:
        lambda wildcards: trained(MEMBERS[wildcards.name], FOLDS),
        lambda wildcards: expand(f"{STATE}/crossval/{{number}}.done", number=MEMBERS[wildcards.name] if COMPLETE else []),
    output:
        touch(f"{STATE}/ensemble/{{name}}.done"),
    params:
        data=DATA,
        runs=RUNS,
        folds=" ".join(f"--fold {fold}" for fold in FOLDS),
        folder=lambda wildcards: f"{DATA}/ensembles/{wildcards.name}",
    shell:
        "cov3d ensemble --data {params.data:q} --runs {params.runs:q} --name {wildcards.name} {params.folds}"
        " --output-dir {params.folder:q} --overwrite"


rule sets:
    # For trials: a set of each task, of all runs.
    output:
        f"{STATE}/sets.json",
    run:
        runs = [str(Path(run_of(number, fold)).resolve()) for number in NUMBERS for fold in FOLDS]
        made = [
            {"task": task, "number": 1, "members": [f"{run}/{task}.safetensors" for run in runs]}
            for task in ("presence", "severity")
        ]
        Path(output[0]).write_text(json.dumps(made, indent=2) + "\n")


rule submit:
    input:
        [f"{STATE}/train/{number}-{fold}.done" for number, fold in sorted(runs_of_submissions())],
        [] if config["submissions"] == "paper" else SET,
        # They fit the temperatures of the checkpoints.
        expand(f"{STATE}/crossval/{{number}}.done", number=NUMBERS if COMPLETE else []),
    output:
        touch(f"{STATE}/submit.done"),
    params:
        data=DATA,
        runs=RUNS,
        set=SET,
        presence=f"{DATA}/{config['presence_scans']}",
        severity=f"{DATA}/{config['severity_scans']}",
        folder=f"{DATA}/submissions",
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=600,
    shell:
        "cov3d submit --set {params.set:q} --data {params.data:q} --runs {params.runs:q}"
        " --presence-scans {params.presence:q} --severity-scans {params.severity:q}"
        " --output-dir {params.folder:q} --jobs {threads} --overwrite"


rule check:
    input:
        f"{STATE}/submit.done",
    output:
        touch(f"{STATE}/check.done"),
    params:
        presence=f"{DATA}/{config['presence_scans']}",
        severity=f"{DATA}/{config['severity_scans']}",
        folder=f"{DATA}/submissions",
    shell:
        "cov3d check-submission {params.folder:q}/presence/* --task presence --scans {params.presence:q} --allow-empty"
        " && cov3d check-submission {params.folder:q}/severity/* --task severity --scans {params.severity:q}"
        " --allow-empty"


rule report:
    input:
        trained(NUMBERS, FOLDS),
        expand(f"{STATE}/crossval/{{number}}.done", number=NUMBERS if COMPLETE else []),
        expand(f"{STATE}/ensemble/{{name}}.done", name=POSSIBLE),
        [] if config["submissions"] == "none" else f"{STATE}/check.done",
    output:
        touch(f"{STATE}/report.done"),
    params:
        data=DATA,
        runs=RUNS,
        folder=f"{DATA}/report",
    shell:
        "cov3d report {params.runs:q} --data {params.data:q} --output-dir {params.folder:q}"

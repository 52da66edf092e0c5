# Training: first on STOIC, then the experiments, a job a fold.
#
# The outputs do not name the files of a run, or Snakemake would delete them before it starts a job again. So a run that
# was killed is resumed, and a finished one is left as it is.


rule pretrain:
    input:
        lambda wildcards: f"{STATE}/crops/stoic-{STOIC_RUNS[wildcards.run].size.value}.done",
    output:
        touch(f"{STATE}/pretrain/{{run}}.done"),
    wildcard_constraints:
        run="|".join(STOIC_RUNS) or "none",
    params:
        data=STOIC,
        folder=lambda wildcards: f"{STOIC}/runs/{wildcards.run}",
        words=lambda wildcards: words(
            {name: getattr(STOIC_RUNS[wildcards.run], name) for name in ("architecture", "size", "dropout")}
        ),
        training=config["training"],
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        disk_mb=RUN_MB,
        runtime=lambda wildcards, attempt: 60 + 2 * pretraining_minutes(wildcards.run),
        gpu_minutes=lambda wildcards: pretraining_minutes(wildcards.run),
    shell:
        "cov3d train --data {params.data:q} {params.words} --fold 0 --resume --output-dir {params.folder:q}"
        " {params.training}"


rule train:
    input:
        lambda wildcards: f"{STATE}/crops/main-{options(wildcards.number).size.value}.done",
        lambda wildcards: (
            f"{STATE}/pretrain/{run_name(stoic_run(wildcards.number))}.done"
            if needs_stoic(wildcards.number)
            else []
        ),
    output:
        touch(f"{STATE}/train/{{number}}-{{fold}}.done"),
    params:
        data=DATA,
        folder=lambda wildcards: run_of(wildcards.number, wildcards.fold),
        words=words(config["options"]),
        start=lambda wildcards: (
            f"--from-checkpoint {STOIC}/runs/{run_name(stoic_run(wildcards.number))}/presence.safetensors"
            if needs_stoic(wildcards.number)
            else ""
        ),
        training=config["training"],
    threads: 8
    resources:
        gpu=1,
        mem_mb=16000,
        disk_mb=RUN_MB,
        runtime=lambda wildcards: 60 + 2 * minutes(wildcards.number),
        gpu_minutes=lambda wildcards: minutes(wildcards.number),
    shell:
        "cov3d train --data {params.data:q} --experiment {wildcards.number} --fold {wildcards.fold} --resume"
        " --output-dir {params.folder:q} {params.words} {params.start} {params.training}"


rule crossval:
    input:
        expand(f"{STATE}/train/{{{{number}}}}-{{fold}}.done", fold=ALL_FOLDS),
    output:
        touch(f"{STATE}/crossval/{{number}}.done"),
    params:
        data=DATA,
        runs=RUNS,
        words=words(config["options"]),
        start=lambda wildcards: (
            f"--from-checkpoint {STOIC}/runs/{run_name(stoic_run(wildcards.number))}/presence.safetensors"
            if needs_stoic(wildcards.number)
            else ""
        ),
        training=config["training"],
    shell:
        "cov3d crossval --data {params.data:q} --runs {params.runs:q} --experiment {wildcards.number} --collect"
        " {params.words} {params.start} {params.training}"

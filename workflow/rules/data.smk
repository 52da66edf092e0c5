# Folds and preprocessing, of COV19-CT-DB and of STOIC.

ROOTS = {"main": DATA, "stoic": STOIC}


rule folds:
    output:
        f"{DATA}/scans.csv",
    params:
        data=DATA,
    shell:
        "cov3d folds --data {params.data:q}"


rule folds_of_stoic:
    output:
        f"{STOIC}/scans.csv",
    params:
        data=STOIC,
    shell:
        "cov3d folds --data {params.data:q}"


rule preprocess:
    input:
        lambda wildcards: f"{ROOTS[wildcards.root]}/scans.csv",
    output:
        touch(f"{STATE}/preprocess/{{root}}-{{size}}-{{shard}}.done"),
    wildcard_constraints:
        root="main|stoic",
    params:
        data=lambda wildcards: ROOTS[wildcards.root],
        shards=len(SHARDS),
    threads: 4
    resources:
        mem_mb=4000,
        runtime=240,
        disk_mb=lambda wildcards: round(STORE_MB[wildcards.size] * scan_count() / len(SHARDS)),
    shell:
        "cov3d preprocess --data {params.data:q} --size {wildcards.size} --shard {wildcards.shard}/{params.shards}"
        " --jobs {threads} --skip-errors || [ $? -eq 3 ]"


rule crops:
    input:
        expand(f"{STATE}/preprocess/{{{{root}}}}-{{{{size}}}}-{{shard}}.done", shard=SHARDS),
    output:
        touch(f"{STATE}/crops/{{root}}-{{size}}.done"),
    params:
        data=lambda wildcards: ROOTS[wildcards.root],
    retries: 0  # it fails if labelled scans can't be read, which a person must decide
    shell:
        "cov3d preprocess --data {params.data:q} --size {wildcards.size} --only-report"

#!/bin/bash
# Bring up Slurm on this machine alone, for trials: as root, with Debian's packages slurm-wlm and munge.
#
#   bash tests/workflow/single_node_slurm.sh start      bash tests/workflow/single_node_slurm.sh stop
#
# It replaces /etc/slurm/slurm.conf: never start it on a machine of a real cluster.
set -euo pipefail

stop() {
    pkill -x slurmctld || true
    pkill -x slurmd || true
    pkill -x munged || true
}

start() {
    local name
    name=$(hostname -s)
    stop
    [ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
    chown munge: /etc/munge/munge.key
    chmod 400 /etc/munge/munge.key
    install -d -o munge -g munge -m 755 /run/munge
    install -d -o munge -g munge -m 700 /var/log/munge /var/lib/munge
    su munge -s /bin/sh -c "munged --force"
    install -d /var/spool/slurmctld /var/spool/slurmd /var/log/slurm /etc/slurm
    cat > /etc/slurm/slurm.conf <<CONF
ClusterName=trial
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
KillWait=30
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
NodeName=$name NodeAddr=127.0.0.1 Gres=gpu:1 CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024) - 500}' /proc/meminfo) State=UNKNOWN
PartitionName=trial Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
    echo "Name=gpu File=/dev/null" > /etc/slurm/gres.conf  # for show: jobs that ask for a GPU run on the processors
    slurmctld -c  # without the jobs of an earlier start
    slurmd
    for _ in $(seq 30); do
        sinfo -h -o %T 2>/dev/null | grep -q idle && return
        sleep 1
    done
    sinfo
    tail -n 5 /var/log/slurm/*.log
    return 1
}

"$1"

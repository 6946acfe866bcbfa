"""How a script is started on several processes of one machine."""


def launch(launcher, processes):
    """The arguments of python before a script's name, for `launcher` "torchrun" or "accelerate", on CPUs."""
    return {
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes],
        "accelerate": [
            *("-m", "accelerate.commands.launch", "--cpu", "--num_processes", processes, "--num_machines", 1),
            *("--main_process_port", 0, "--mixed_precision", "no", "--dynamo_backend", "no"),
        ],
    }[launcher]

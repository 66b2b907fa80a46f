"""Training: a pure step scanned on the device, checkpoints that continue to the same bits, a log, progress.

Nothing here knows a cell or a model: a `Task` hands over pure functions.

    keys         a random key for each seed and purpose
    order        the order of the data: a function of (seed, epoch)
    state        what moves while one seed is trained, and what moves it
    devices      who shares a batch and who has which replicas, and what lies where
    spread       data of which each device keeps a part
    processes    several processes: how they start, agree and end
    step         a task, its steps and its evaluation: `make_functions` compiles them for S seeds and several devices
    loop         `train`: dispatches, evaluation, log and checkpoints, from wherever the run stands
    shared_checkpoints
                 checkpoints of one process or several
    parts        a state of which each process has a part, written by all
    checkpoints  the last few states and the best; the parameters of a trained model
    restoring    what a checkpoint says of itself, and how it is read
    orbax_calls  Orbax as it is called here
    digests      the SHA-256 of files, as `sha256sum -c` checks it
    plain_path   a path that Orbax can take, of a folder of any name
    log          `metrics.jsonl` and TensorBoard events
    optimizers   optimizers and learning rates by name
    memory       what training takes, against what is free
    interrupt    Ctrl-C, SIGTERM and SIGHUP as a request to save and end
    errors       what can end a training early
"""

from rnn_jax.extras import need

need(__name__, "orbax", "tqdm")

"""Recurrent networks in NumPy float64, one plain loop over steps: what the library has to agree with.

Shares no code with it. Parameters are any objects with the attributes `w_ih`, `w_hh`, `b` (and `b_hn`), carries are
plain tuples `(h,)` or `(h, c)`, sequences are time-major, and what stands between is the batch.

Every function also takes complex numbers, for derivatives without rounding error by the complex step: for a small s,
Im f(x + i s v) / s is the derivative of f along v. Squire and Trapp, "Using complex variables to estimate derivatives
of real functions", 1998. Dropping the imaginary part is then what stopping the gradient is.
"""

import numpy as np

TINY = 1e-30


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def relu(z):
    return np.where(z.real > 0, z, 0)


def rnn_step(activation):
    def step(params, carry, x):
        (h,) = carry
        h = activation(x @ params.w_ih + h @ params.w_hh + params.b)
        return (h,), h

    return step


def lstm_step(params, carry, x):
    h, c = carry
    size = h.shape[-1]
    z = x @ params.w_ih + h @ params.w_hh + params.b
    i = sigmoid(z[..., :size])
    f = sigmoid(z[..., size : 2 * size])
    g = np.tanh(z[..., 2 * size : 3 * size])
    o = sigmoid(z[..., 3 * size :])
    c = f * c + i * g
    h = o * np.tanh(c)
    return (h, c), h


def without_dc_step(params, carry, x):
    return lstm_step(params, (carry[0], carry[1].real), x)


def additive_step(params, carry, x):
    h, c = carry
    c = c + np.tanh(x @ params.w_ih + h @ params.w_hh + params.b)
    return (np.tanh(c), c), np.tanh(c)


def three_gates(params, carry, x):
    """i, g, o."""
    h, size = carry[0], carry[0].shape[-1]
    z = x @ params.w_ih + h @ params.w_hh + params.b
    return sigmoid(z[..., :size]), np.tanh(z[..., size : 2 * size]), sigmoid(z[..., 2 * size :])


def no_forget_step(params, carry, x):
    i, g, o = three_gates(params, carry, x)
    c = carry[1] + i * g
    return (o * np.tanh(c), c), o * np.tanh(c)


def coupled_step(params, carry, x):
    i, g, o = three_gates(params, carry, x)
    c = carry[1] - i * carry[1] + i * g
    return (o * np.tanh(c), c), o * np.tanh(c)


def peephole_step(params, carry, x):
    h, c = carry
    size = h.shape[-1]
    z = x @ params.w_ih + h @ params.w_hh + params.b
    i = sigmoid(z[..., :size] + params.peepholes[0] * c)
    f = sigmoid(z[..., size : 2 * size] + params.peepholes[1] * c)
    c = f * c + i * np.tanh(z[..., 2 * size : 3 * size])
    h = sigmoid(z[..., 3 * size :] + params.peepholes[2] * c) * np.tanh(c)
    return (h, c), h


def norm(values):
    mean = values.sum(-1, keepdims=True) / values.shape[-1]
    variance = ((values - mean) ** 2).sum(-1, keepdims=True) / values.shape[-1]
    return (values - mean) / np.sqrt(variance + 1e-5)


def layer_norm_step(params, carry, x):
    h, c = carry
    size = h.shape[-1]
    z = []
    for k in range(4):
        gate = slice(k * size, (k + 1) * size)
        from_x = params.gain_ih[k] * norm(x @ params.w_ih[:, gate])
        z.append(from_x + params.gain_hh[k] * norm(h @ params.w_hh[:, gate]) + params.b[gate])
    c = sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2])
    h = sigmoid(z[3]) * np.tanh(params.gain_c * norm(c))
    return (h, c), h


def gru_step(params, carry, x):
    (h,) = carry
    size = h.shape[-1]
    from_x = x @ params.w_ih + params.b
    from_h = h @ params.w_hh
    r = sigmoid(from_x[..., :size] + from_h[..., :size])
    z = sigmoid(from_x[..., size : 2 * size] + from_h[..., size : 2 * size])
    n = np.tanh(from_x[..., 2 * size :] + r * (from_h[..., 2 * size :] + params.b_hn))
    h = (1 - z) * n + z * h
    return (h,), h


def projection_step(params, carry, x):
    h, c = carry
    z = x @ params.w_ih + h @ params.w_hh + params.b
    z_i, z_f, z_g, z_o = np.split(z, 4, -1)
    c = sigmoid(z_f) * c + sigmoid(z_i) * np.tanh(z_g)
    h = (sigmoid(z_o) * np.tanh(c)) @ params.w_hr
    return (h, c), h


def reset_before_step(params, carry, x):
    (h,) = carry
    x_r, x_z, x_n = np.split(x @ params.w_ih + params.b, 3, -1)
    w_r, w_z, w_n = np.split(params.w_hh, 3, -1)
    r, z = sigmoid(x_r + h @ w_r), sigmoid(x_z + h @ w_z)
    n = np.tanh(x_n + (r * h) @ w_n)
    h = (1 - z) * n + z * h
    return (h,), h


def mingru_step(params, carry, x):
    (h,) = carry
    z, n = np.split(x @ params.w_ih + params.b, 2, -1)
    h = h + sigmoid(z) * (n - h)
    return (h,), h


def minlstm_step(params, carry, x):
    (h,) = carry
    z_i, z_f, g = np.split(x @ params.w_ih + params.b, 3, -1)
    i, f = sigmoid(z_i), sigmoid(z_f)
    h = (f * h + i * g) / (f + i)
    return (h,), h


def indrnn_step(params, carry, x):
    (h,) = carry
    h = relu(x @ params.w_ih + params.w_hh * h + params.b)
    return (h,), h


def mgu_step(params, carry, x):
    (h,) = carry
    x_f, x_n = np.split(x @ params.w_ih + params.b, 2, -1)
    w_f, w_n = np.split(params.w_hh, 2, -1)
    f = sigmoid(x_f + h @ w_f)
    h = (1 - f) * h + f * np.tanh(x_n + (f * h) @ w_n)
    return (h,), h


def slstm_step(params, carry, x):
    h, c, n, m = carry
    z_i, z_f, z_g, z_o = np.split(x @ params.w_ih + h @ params.w_hh + params.b, 4, -1)
    log_f = np.log(sigmoid(z_f))
    kept = np.where(n.real == 0, False, (log_f + m).real > z_i.real)
    new_m = np.where(kept, log_f + m, z_i)
    i, f = np.exp(z_i - new_m), np.where(n.real == 0, 1, np.exp(log_f + m - new_m))
    c, n = f * c + i * np.tanh(z_g), f * n + i
    h = sigmoid(z_o) * c / n
    return (h, c, n, new_m), h


def cornn_step(params, carry, x):
    h, z = carry
    force = np.tanh(x @ params.w_ih + h @ params.w_hh + z @ params.w_zh + params.b)
    z = z + 0.042 * (force - 2.7 * h - 4.7 * z)
    h = h + 0.042 * z
    return (h, z), h


def lem_step(params, carry, x):
    h, z = carry
    x_a, x_b, x_z, x_h = np.split(x @ params.w_ih + params.b, 4, -1)
    h_a, h_b, h_z = np.split(h @ params.w_hh, 3, -1)
    a, b = sigmoid(x_a + h_a), sigmoid(x_b + h_b)
    z = z + a * (np.tanh(x_z + h_z) - z)
    h = h + b * (np.tanh(x_h + z @ params.w_zh) - h)
    return (h, z), h


def lru_step(params, carry, x):
    """Complex numbers as pairs: the complex step has an imaginary unit of its own."""
    re, im = carry
    modulus, angle, gamma = np.exp(-np.exp(params.nu_log)), np.exp(params.theta_log), np.exp(params.gamma_log)
    real, imaginary = modulus * np.cos(angle), modulus * np.sin(angle)
    re, im = (
        real * re - imaginary * im + gamma * (x @ params.b_re),
        real * im + imaginary * re + gamma * (x @ params.b_im),
    )
    return (re, im), re @ params.c_re - im @ params.c_im + x @ params.d


STEPS = {
    "rnn": rnn_step(np.tanh),
    "rnn_relu": rnn_step(relu),
    "rnn_identity": rnn_step(lambda z: z),
    "lstm": lstm_step,
    "gru": gru_step,
    "lstm_additive": additive_step,
    "lstm_no_forget": no_forget_step,
    "lstm_coupled": coupled_step,
    "lstm_without_dc": without_dc_step,
    "lstm_peephole": peephole_step,
    "lstm_layer_norm": layer_norm_step,
    "lstm_projection": projection_step,
    "gru_reset_before": reset_before_step,
    "mingru": mingru_step,
    "minlstm": minlstm_step,
    "indrnn": indrnn_step,
    "mgu": mgu_step,
    "slstm": slstm_step,
    "cornn": cornn_step,
    "lem": lem_step,
    "lru": lru_step,
}
NUM_CARRIES = {name: 2 if name.startswith("lstm") else 1 for name in STEPS}
STATES = {  # the sizes of the carry's parts, where they are not all the rows of w_hh
    "lstm_projection": lambda params: params.w_hr.shape[::-1],
    "mingru": lambda params: [params.b.size // 2],
    "minlstm": lambda params: [params.b.size // 3],
    "slstm": lambda params: [params.w_hh.shape[0]] * 4,
    "cornn": lambda params: [params.b.size] * 2,
    "lem": lambda params: [params.w_zh.shape[0]] * 2,
    "lru": lambda params: [params.nu_log.size] * 2,
}


def zeros(name, params, batch_shape):
    """The initial carry."""
    sizes = STATES[name](params) if name in STATES else [params.w_hh.shape[0]] * NUM_CARRIES[name]
    return tuple(np.zeros((*batch_shape, size)) for size in sizes)


def unroll(name, params, xs, carry=None, lengths=None, resets=None, reverse=False, truncate_every=None):
    """The final carry, and ys stacked over time."""
    num_steps, batch_shape = len(xs), xs.shape[1:-1]
    start = zeros(name, params, batch_shape)
    carry = start if carry is None else carry
    lengths = np.full(batch_shape, num_steps) if lengths is None else np.asarray(lengths)
    resets = np.zeros((num_steps, *batch_shape), bool) if resets is None else np.asarray(resets)
    ys, taken = [None] * num_steps, np.zeros(batch_shape, int)
    for t in range(num_steps)[::-1] if reverse else range(num_steps):
        valid = (t < lengths)[..., None]
        if truncate_every is not None:
            cut = valid & ((taken > 0) & (taken % truncate_every == 0))[..., None]
            carry = tuple(np.where(cut, part.real, part) for part in carry)
        fresh = tuple(np.where(resets[t][..., None], zero, part) for zero, part in zip(start, carry, strict=True))
        stepped, y = STEPS[name](params, fresh, xs[t])
        taken = taken + (t < lengths)
        carry = tuple(np.where(valid, new, old) for new, old in zip(stepped, carry, strict=True))
        ys[t] = np.where(valid, y, 0)
    return carry, np.stack(ys) if ys else np.zeros((0, *start[0].shape))


def bidirectional(name, params, xs, carry=(None, None), resets=None, **options):
    """One pass each way; `resets` begin a segment, which a pass from the end enters at its last step."""
    ending = None
    if resets is not None:
        ending = np.zeros_like(resets)
        for t in range(len(resets) - 1):
            ending[t] = resets[t + 1]
    forward, ys = unroll(name, params[0], xs, carry[0], resets=resets, **options)
    backward, backward_ys = unroll(name, params[1], xs, carry[1], resets=ending, reverse=True, **options)
    return (forward, backward), np.concatenate((ys, backward_ys), -1)


def stack(name, layers, xs, carries=None, two_ways=False, **options):
    """Layer k reads the outputs of layer k-1."""
    finals = []
    for k, params in enumerate(layers):
        run, start = (bidirectional, (None, None)) if two_ways else (unroll, None)
        final, xs = run(name, params, xs, start if carries is None else carries[k], **options)
        finals.append(final)
    return tuple(finals), xs


def gradient(function, arguments, cotangents):
    """d sum(cotangents * outputs) / d arguments, entry by entry, for `function(*arguments) -> outputs`."""
    gradients = []
    for position, argument in enumerate(arguments):
        moved = [np.asarray(a, complex) for a in arguments]
        derivative = np.zeros(argument.shape)
        for entry in np.ndindex(argument.shape):
            moved[position][entry] += 1j * TINY
            outputs = function(*moved)
            derivative[entry] = sum((w * y.imag).sum() for w, y in zip(cotangents, outputs, strict=True)) / TINY
            moved[position][entry] = argument[entry]
        gradients.append(derivative)
    return gradients


def tangent(function, arguments, directions):
    """The derivative of every output along `directions`."""
    moved = [a + 1j * TINY * v for a, v in zip(arguments, directions, strict=True)]
    return [y.imag / TINY for y in function(*moved)]

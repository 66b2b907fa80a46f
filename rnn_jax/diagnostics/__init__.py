"""What a recurrent system does to small differences and to gradients: arrays out, no plots.

Of any function `step(carry, x) -> carry`, a `Step`, a cell's (`cell_step`) or your own:

| | |
|---|---|
| `gradient_flow` | log ||dL/dh_t|| for every t, however small |
| `gradient_terms` | what each step contributes to the gradient of the parameters |
| `memory_horizon` | the lag from which on a norm has fallen by a factor |
| `jacobian_norms` | log ||dh_T/dh_k|| for every lag: `JacobianNorms` |
| `jacobian_singular_values` | all singular values of dh_T/dh_k, as logarithms |
| `log_singular_values`, `effective_rank` | of a matrix whose rows differ by any number of orders of magnitude |
| `lyapunov_spectrum` | mean rates at which small differences grow: `LyapunovSpectrum` |
| `kaplan_yorke_dimension`, `entropy_rate` | what a spectrum says of an attractor |
| `covariant_vectors` | the directions that grow by one exponent each: `CovariantVectors` |
| `largest_exponents`, `flossing_loss`, `floss` | the largest of those rates, differentiable, and pushed to zero |
| `newton_iterations` | how many iterations Newton's method over time takes for all states, and which they are |
| `predictability`, `predicted_iterations` | the same number beforehand, from a `Predictability` |
| `log_norm` | log of a norm that neither under- nor overflows |

Of a cell and its parameters:

| | |
|---|---|
| `cell_step` | its step as such a function |
| `gate_activations`, `gate_statistics` | what its gates do over a sequence, and how many are stuck |
| `truncation_bias` | what truncated backpropagation leaves out, a `TruncationBias`, on `echo_task` by `echo_loss` |
| `gradcheck` | a module: the same gradient by three routes that share no algebra |
"""

from rnn_jax.diagnostics import gradcheck
from rnn_jax.diagnostics.covariant import CovariantVectors, covariant_vectors
from rnn_jax.diagnostics.dimension import entropy_rate, kaplan_yorke_dimension
from rnn_jax.diagnostics.flossing import floss, flossing_loss, largest_exponents
from rnn_jax.diagnostics.gates import gate_activations, gate_statistics
from rnn_jax.diagnostics.gradients import gradient_flow, gradient_terms
from rnn_jax.diagnostics.horizon import memory_horizon
from rnn_jax.diagnostics.jacobians import JacobianNorms, jacobian_norms, jacobian_singular_values
from rnn_jax.diagnostics.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from rnn_jax.diagnostics.parallel import Predictability, newton_iterations, predictability, predicted_iterations
from rnn_jax.diagnostics.singular_values import effective_rank, log_singular_values
from rnn_jax.diagnostics.steps import Step, cell_step, log_norm
from rnn_jax.diagnostics.truncation import TruncationBias, echo_loss, echo_task, truncation_bias

__all__ = [
    "CovariantVectors",
    "JacobianNorms",
    "LyapunovSpectrum",
    "Predictability",
    "Step",
    "TruncationBias",
    "cell_step",
    "covariant_vectors",
    "echo_loss",
    "echo_task",
    "effective_rank",
    "entropy_rate",
    "floss",
    "flossing_loss",
    "gate_activations",
    "gate_statistics",
    "gradcheck",
    "gradient_flow",
    "gradient_terms",
    "jacobian_norms",
    "jacobian_singular_values",
    "kaplan_yorke_dimension",
    "largest_exponents",
    "log_norm",
    "log_singular_values",
    "lyapunov_spectrum",
    "memory_horizon",
    "newton_iterations",
    "predictability",
    "predicted_iterations",
    "truncation_bias",
]

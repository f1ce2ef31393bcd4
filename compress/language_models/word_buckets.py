"""A distribution over a vocabulary as its k largest probabilities and the rest in one: what it keeps of the KL
divergence.

With p the teacher's distribution, q the student's, K the teacher's k largest and R the rest, the chain rule of KL gives

    KL(p || q) = KL(buckets of p || buckets of q) + p(R) * KL(p given R || q given R).

The second term is not negative (the log-sum inequality), so the buckets' KL is a lower bound, exact where p(R) = 0 or
where teacher and student agree within the rest. With KL(a || b) <= -log min b, the gap is at most

    p(R) * (log(V - k) + spread),

spread being the largest minus the smallest of the student's logits in R, divided by T. Both sides are computed in
`gap_bound`. The gradient is that of the full KL but for the student's relative sizes within the rest, which it leaves
as they are.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Buckets:
    """A teacher's distributions at temperature T. Natural logarithms."""

    ids: Tensor
    """The k most probable tokens, [positions, k]."""
    log_probabilities: Tensor
    """Theirs, [positions, k]."""
    log_rest: Tensor
    """The log of what all others have together, [positions]."""


def buckets(logits: Tensor, k: int, temperature: float) -> Buckets:
    """The k largest of softmax(logits / T) and the rest, [positions, vocabulary] -> [positions, k]; in float32."""
    log_p = torch.log_softmax(logits.float() / temperature, -1)
    largest, ids = log_p.topk(k, -1)
    return Buckets(ids, largest, _log_rest(log_p, ids))


def bucket_loss(student: Tensor, teacher: Buckets, temperature: float) -> Tensor:
    """T^2 KL of the k + 1 buckets, student's logits [positions, vocabulary] -> [positions]; at most T^2 times the full
    KL."""
    log_q = torch.log_softmax(student.float() / temperature, -1)
    q = torch.cat([log_q.gather(-1, teacher.ids), _log_rest(log_q, teacher.ids)[:, None]], -1)
    p = torch.cat([teacher.log_probabilities, teacher.log_rest[:, None]], -1)
    return (p.exp() * (p - q)).sum(-1) * temperature**2


def gap_bound(student: Tensor, teacher: Buckets, temperature: float) -> Tensor:
    """The most by which `bucket_loss` falls short of T^2 times the full KL, [positions, vocabulary] -> [positions]."""
    others = student.float().scatter(-1, teacher.ids, math.nan)
    spread = (others.nan_to_num(-math.inf).amax(-1) - others.nan_to_num(math.inf).amin(-1)) / temperature
    rest = student.shape[-1] - teacher.ids.shape[-1]
    return teacher.log_rest.exp() * (math.log(rest) + spread) * temperature**2


def _log_rest(log_probabilities: Tensor, ids: Tensor) -> Tensor:
    """log of the sum over all tokens but these; summed apart, because 1 - the others' is 0 in float32 where they are
    almost all."""
    return log_probabilities.scatter(-1, ids, -math.inf).logsumexp(-1)

"""What is wrong with the options of the testbed `external`, or with an experiment there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.options import ExternalOptions
from lb.ca_certificates import read_ca_certificates
from lb.target import resolver_target, split_address

if TYPE_CHECKING:
    from harness.spec import Experiment


def confirm_addresses(external: ExternalOptions) -> None:
    """Raise UserError for an address, a file or a combination of options that cannot be."""
    if external.target is not None:
        _confirm("--target", resolver_target, external.target)
    for replica in external.replicas:
        _confirm("--replica", split_address, replica)
    twice = [one for one in external.replicas if external.replicas.count(one) > 1]
    if twice:
        raise UserError(f"--replica: {twice[0]} is named twice; name each once")
    for option, given in (("--arm", external.arm), ("--tls", external.tls)):
        if given and external.target is None:
            raise UserError(f"{option}: says how --target is; give both, or neither")
    if external.ca is not None:
        if not external.tls:
            raise UserError("--ca: trusts nobody without --tls; give both, or neither")
        _confirm("--ca", lambda path: read_ca_certificates(Path(path)), str(external.ca))


def _confirm(option: str, read: Callable[[str], object], text: str) -> None:
    try:
        read(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error


def confirm_counts(experiment: Experiment, external: ExternalOptions) -> None:
    """Raise UserError when another number of replicas is named than the experiment has."""
    named, planned = len(external.replicas), experiment.replicas.count
    if named and named != planned:
        raise UserError(
            f"--replica: {named} named, and {experiment.name} has {planned} replicas; "
            f"name all, or run it with --replicas {named}"
        )

"""How an AWS load balancer is told to do what a policy of Envoy does: attributes, console, command.

Source: AWS, "Target groups for your Application Load Balancers" and the AWS CLI's reference of elbv2.
"""

import json
from collections.abc import Mapping

from harness.policies.envoy_options import RoundRobinOptions, StickyOptions, TargetGroupsOptions
from harness.policies.policy import AlbSettings

ATTRIBUTES_PAGE = "EC2 console > Target Groups > the group > Attributes > Edit"
RULE_PAGE = "EC2 console > Load Balancers > the balancer > Listeners and rules > the rule > Edit"


def of_target_group(attributes: Mapping[str, str], labels: str) -> AlbSettings:
    """Return settings that are attributes of a target group. `labels`: what the console calls them."""
    words = " ".join(f"Key={key},Value={value}" for key, value in attributes.items())
    return AlbSettings(
        attributes,
        f"{ATTRIBUTES_PAGE}: {labels}",
        f"aws elbv2 modify-target-group-attributes --target-group-arn ARN --attributes {words}",
    )


ALGORITHM = "load_balancing.algorithm.type"


def algorithm(value: str, label: str) -> AlbSettings:
    """Return the settings of a load balancing algorithm. `label`: its name in the console."""
    attributes = {ALGORITHM: value, "stickiness.enabled": "false"}
    return of_target_group(attributes, f"Load balancing algorithm: {label}")


def alb_round_robin(options: RoundRobinOptions) -> AlbSettings:
    """Return round robin, with a slow start within the bounds of an ALB (30 to 900 s)."""
    if options.slow_start_s is None:
        return algorithm("round_robin", "Round robin")
    seconds = min(900, max(30, round(options.slow_start_s)))
    attributes = {ALGORITHM: "round_robin", "slow_start.duration_seconds": str(seconds)}
    return of_target_group(attributes, "Load balancing algorithm: Round robin; Slow start duration")


def alb_sticky(options: StickyOptions) -> AlbSettings | None:
    """Return target group stickiness; None by header, for which an ALB has nothing."""
    if options.by == "header":
        return None
    attributes = {
        "stickiness.enabled": "true",
        "stickiness.type": "lb_cookie",
        "stickiness.lb_cookie.duration_seconds": str(options.ttl_s),
    }
    labels = "Turn on stickiness; Stickiness type: Load balancer generated cookie; Stickiness duration"
    return of_target_group(attributes, labels)


def alb_groups(options: TargetGroupsOptions) -> AlbSettings:
    """Return a rule that forwards to weighted target groups."""
    weights = {name: str(group.weight) for name, group in options.groups.items()}
    targets = [{"TargetGroupArn": name, "Weight": group.weight} for name, group in options.groups.items()]
    forward: dict[str, object] = {"TargetGroups": targets}
    attributes = {f"ForwardConfig.TargetGroups: Weight of {name}": weight for name, weight in weights.items()}
    labels = "Forward to target groups: weights"
    if options.sticky_by == "cookie":
        forward["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": 86_400}
        attributes["ForwardConfig.TargetGroupStickinessConfig.Enabled"] = "true"
        labels += "; Turn on target group stickiness"
    actions = json.dumps([{"Type": "forward", "ForwardConfig": forward}], separators=(",", ":"))
    command = f"aws elbv2 modify-rule --rule-arn ARN --actions '{actions}'"
    return AlbSettings(attributes, f"{RULE_PAGE}: {labels}", command)


def nlb_source_ip() -> AlbSettings:
    """Return the stickiness of an NLB's target group."""
    attributes = {"stickiness.enabled": "true", "stickiness.type": "source_ip"}
    return of_target_group(attributes, "Turn on stickiness (a target group of an NLB)")

"""What the model is asked before anybody asks it something."""

from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet

WARM_UP_POLICIES = PolicySet("", (Policy("warm_up", "Requests that check whether the model runs."),))
"""For a server without policy sets."""

WARM_UP_MESSAGES = (Message(Role.USER, "Does the model run?"),)

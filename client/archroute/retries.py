"""Which calls gRPC makes again by itself, and how soon.

It stays within the deadline of the call. A server that gives `grpc-retry-pushback-ms` in its trailing
metadata says when to come again, or with a negative number that one should not; gRPC obeys.

Source: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
"""

import json

__all__ = ["SERVICE_CONFIG"]

_SERVICE = "archroute.v1.RouterService"
# A decision changes nothing on the server, so that a call may be made twice. A stream is for its caller to
# begin anew.
_METHODS = ("Route", "ListPolicySets", "GetPolicySet")

SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": _SERVICE, "method": method} for method in _METHODS],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.02s",
                    "maxBackoff": "0.2s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                },
            }
        ],
        # Each failure takes a token and each success gives back a tenth of one; below half there are no
        # retries. So those of many calls do not add to the load of a server that fails for longer.
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.1},
    }
)
"""The value of the channel option `grpc.service_config`."""

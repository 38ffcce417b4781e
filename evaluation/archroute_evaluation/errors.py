"""What can go wrong while evaluating or calibrating."""


class EvaluationError(Exception):
    """An evaluation or a calibration that cannot be done; the message says why and what to do."""

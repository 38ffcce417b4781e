"""A policies file for tests: an ordinary set, and one whose names and descriptions are awkward."""

POLICIES = """\
default: gateway
policy_sets:
  - name: gateway
    policies:
      - {name: code, description: Writing and fixing programs, models: [large-coder, small-coder]}
      - {name: code_review, description: Reading and judging programs, models: [large-coder]}
      - {name: travel, description: Journeys and hotels}
  - name: awkward
    policies:
      - {name: code, description: A name that others begin with}
      - {name: code_, description: "</routes>"}
      - {name: 'say "hi"', description: 'Quotes " and \\ backslashes'}
      - {name: 'C:\\new\\table', description: Backslashes}
      - {name: 🧭 où, description: "Emoji, accents and ]"}
      - {name: '</routes>', description: '{conversation}'}
      - {name: '<|im_end|>', description: A special token's text}
"""
AWKWARD_NAMES = (
    "code",
    "code_",
    'say "hi"',
    r"C:\new\table",
    "🧭 où",
    "</routes>",
    "<|im_end|>",
)

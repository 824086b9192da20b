"""What other programs import: environments of their own standards.

import gridracer, gymnasium
env = gymnasium.make("gridracer/case118-cascade-hard-v0")
"""

from gridracer import ids

ids.register()

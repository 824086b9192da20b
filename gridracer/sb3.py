"""A batch of grids as a vector environment of Stable-Baselines3.

env = VecMonitor(sb3.make("case14", 64))    # of stable_baselines3.common.vec_env
model = PPO("MlpPolicy", env)
"""

import numpy as np

from gridracer import packages, vector_env

vec_env = packages.required("stable_baselines3", "common.vec_env")


class GridVecEnv(vec_env.VecEnv):
    """A `GridVectorEnv` that begins new days at once, as Stable-Baselines3 has its environments.

    Infos are of grids whose day is over: `terminal_observation`, `TimeLimit.truncated`, and `day`,
    its metrics.
    """

    def __init__(self, env: vector_env.GridVectorEnv):
        """Wraps a batch.

        Raises:
          ValueError: its days begin a step later.
        """
        if env.metadata["autoreset_mode"] != vector_env.gymnasium.vector.AutoresetMode.SAME_STEP:
            raise ValueError("autoreset='next_step': make the batch with autoreset='same_step'")
        self._env, self._actions, self._seed = env, None, None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray | dict[str, np.ndarray]:
        """Returns the observations of new days."""
        observations, _ = self._env.reset(seed=self._seed)
        self._seed = None
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions of the next step."""
        self._actions = actions

    def step_wait(self):
        """Returns observations, rewards, whether days are over, and infos of the step."""
        observations, rewards, terminated, truncated, infos = self._env.step(self._actions)
        done = terminated | truncated
        told = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):
            day = {name: each for name, each in infos["day"].items() if not name.startswith("_")}
            told[row] = {
                "terminal_observation": infos["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row]),
                "reason": infos["reason"][row],
                "day": {name: float(values[row]) for name, values in day.items()},
            }
        return observations, rewards.astype(np.float32), done, told

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def seed(self, seed: int | None = None):
        """Seeds the next reset."""
        self._seed = seed
        return [seed] * self.num_envs

    def get_attr(self, attr_name, indices=None):
        """Returns an attribute, the same of every grid."""
        return [getattr(self._env, attr_name)] * len(list(self._get_indices(indices)))

    def get_images(self):
        """Returns the one-line diagram of every grid."""
        return self._env.render()

    def set_attr(self, attr_name, value, indices=None):
        """Refuses: grids of a batch have no attributes of their own."""
        raise AttributeError(f"{attr_name}: grids of a batch have no attributes of their own")

    def env_method(self, method_name, *args, indices=None, **kwargs):
        """Refuses: grids of a batch have no methods of their own."""
        raise AttributeError(f"{method_name}: grids of a batch have no methods of their own")

    def env_is_wrapped(self, wrapper_class, indices=None):
        """Returns that no grid is wrapped."""
        return [False] * len(list(self._get_indices(indices)))


def make(case: str, num_envs: int = 1, *args, **options) -> GridVecEnv:
    """Returns a batch of grids of a task; arguments are those of `gridracer.vector_env.make`.

    Raises:
      ValueError: a name, an option or its value is not accepted.
      FileNotFoundError: there is no such case.
    """
    options = {"autoreset": "same_step", **options}
    return GridVecEnv(vector_env.make(case, num_envs, *args, **options))

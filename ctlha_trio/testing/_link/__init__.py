"""The link alone, from one number: two ends on a network that fails, and a model of everything that they may say."""

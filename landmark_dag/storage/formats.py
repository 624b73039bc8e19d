"""The formats of stored files, and the keys of the metadata in every file."""

FORMAT_KEY = "landmark_dag.format"
"""Metadata key: the layout of the file, one of the formats below."""

VERSION_KEY = "landmark_dag.version"
"""Metadata key: the data version of the output in the file."""

MODEL_KEY = "landmark_dag.model"
"""Metadata key: the fingerprint of the model that computed what is in the file."""

NOTE_PREFIX = "landmark_dag.note."
"""Prefix of the metadata keys of a table's notes."""

TABLE_FORMAT = "1"
"""Layout of Parquet tables, and of the JSON records of other outputs."""

EMBEDDINGS_FORMAT = "1"
"""Layout of the Arrow files of embeddings."""

LOCAL_FEATURES_FORMAT = "3"
"""Layout of the Arrow files of local features."""

MODEL_FORMAT = 1
"""Layout of a trained model's folder."""

CHECKPOINT_FORMAT = 1
"""Layout of a checkpoint of training."""

RECOMPUTE = "run `landmark-dag run` on the home again, which recomputes it"
"""What messages recommend for a stored file that is damaged or from another release."""

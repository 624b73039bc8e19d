"""Between the stored tables and the arrays of candidate pairs and verification."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from landmark_dag.cleaning.candidates import candidate_pairs
from landmark_dag.cleaning.settings import CandidateSettings, VerificationSettings
from landmark_dag.tables import MATCH_CANDIDATES, VERIFIED_MATCHES

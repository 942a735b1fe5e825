"""What `lfw_seq.baselines` fits: a scikit-learn pipeline, and the values it leaves to be chosen.

Each reads images as vectors of T F pixels. All choices are by cross-validation on training images.
"""

from typing import Any

from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from lfw_seq.parts import Count

Grid = dict[str, list[Any]]


def majority() -> tuple[Pipeline, Grid]:
    """Always the most frequent person; the probabilities are everybody's share."""
    return make_pipeline(DummyClassifier(strategy="prior")), {}


def nearest() -> tuple[Pipeline, Grid]:
    """The person on the most similar training image, by Euclidean distance; the probabilities are 0 and 1."""
    return make_pipeline(KNeighborsClassifier(1)), {}


def logistic(C: list[float]) -> tuple[Pipeline, Grid]:
    """Multinomial logistic regression of standardised pixels; `C` is the inverse strength of its L2 penalty."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), {"logisticregression__C": C}


def eigenfaces(components: Count, seed: int) -> list[Any]:
    """Standardised pixels, and their whitened principal components (Turk and Pentland, 1991)."""
    return [StandardScaler(), PCA(components, whiten=True, svd_solver="randomized", random_state=seed)]


def svm(components: Count, C: list[float], gamma: list[float], seed: int) -> tuple[Pipeline, Grid]:
    """An RBF SVM on eigenfaces, as scikit-learn's example of face recognition has long been.

    Args:
        components: eigenfaces, under the number of images a fold trains on.
        C: costs to choose from.
        gamma: inverse squared widths of the kernel to choose from.
        seed: of the randomized decomposition.
    """
    pipeline = make_pipeline(*eigenfaces(components, seed), SVC(class_weight="balanced", break_ties=True))
    return pipeline, {"svc__C": C, "svc__gamma": gamma}


def nystroem(
    components: Count, landmarks: Count, C: list[float], gamma: list[float], seed: int
) -> tuple[Pipeline, Grid]:
    """Logistic regression on eigenfaces through an approximate RBF kernel (Williams and Seeger, 2001).

    Args:
        components: eigenfaces, under the number of images a fold trains on.
        landmarks: training images that the kernel compares an image with, likewise.
        C: inverse strengths of the L2 penalty to choose from.
        gamma: inverse squared widths of the kernel to choose from.
        seed: of the decomposition and of the landmarks.
    """
    kernel = Nystroem(n_components=landmarks, random_state=seed)
    last = LogisticRegression(class_weight="balanced", max_iter=2000)
    pipeline = make_pipeline(*eigenfaces(components, seed), kernel, last)
    return pipeline, {"nystroem__gamma": gamma, "logisticregression__C": C}

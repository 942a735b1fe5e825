"""Baselines of `lfw_seq.baselines`: scikit-learn pipelines with the hyperparameter grids to search.

Each takes images as vectors of T F pixels. Grids are searched by cross-validation on training images.
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
    """Always predict the most frequent person; probabilities are the class frequencies."""
    return make_pipeline(DummyClassifier(strategy="prior")), {}


def nearest() -> tuple[Pipeline, Grid]:
    """Predict the person of the nearest training image in Euclidean distance; probabilities are 0 or 1."""
    return make_pipeline(KNeighborsClassifier(1)), {}


def logistic(C: list[float]) -> tuple[Pipeline, Grid]:
    """Multinomial logistic regression on standardized pixels; `C` lists inverse strengths of the L2 penalty."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), {"logisticregression__C": C}


def eigenfaces(components: Count, seed: int) -> list[Any]:
    """Steps of eigenfaces: standardization, then whitened principal components (Turk and Pentland, 1991)."""
    return [StandardScaler(), PCA(components, whiten=True, svd_solver="randomized", random_state=seed)]


def svm(components: Count, C: list[float], gamma: list[float], seed: int) -> tuple[Pipeline, Grid]:
    """An RBF SVM on eigenfaces, as in scikit-learn's face recognition example.

    Args:
        components: number of eigenfaces, under the number of training images of a fold.
        C: costs to search.
        gamma: inverse squared kernel widths to search.
        seed: of the randomized PCA.
    """
    pipeline = make_pipeline(*eigenfaces(components, seed), SVC(class_weight="balanced", break_ties=True))
    return pipeline, {"svc__C": C, "svc__gamma": gamma}


def nystroem(
    components: Count, landmarks: Count, C: list[float], gamma: list[float], seed: int
) -> tuple[Pipeline, Grid]:
    """Logistic regression on eigenfaces through an approximate RBF kernel (Williams and Seeger, 2001).

    Args:
        components: number of eigenfaces, under the number of training images of a fold.
        landmarks: training images that approximate the kernel, under the same number.
        C: inverse strengths of the L2 penalty to search.
        gamma: inverse squared kernel widths to search.
        seed: of the randomized PCA and of the landmarks.
    """
    kernel = Nystroem(n_components=landmarks, random_state=seed)
    classifier = LogisticRegression(class_weight="balanced", max_iter=2000)
    pipeline = make_pipeline(*eigenfaces(components, seed), kernel, classifier)
    return pipeline, {"nystroem__gamma": gamma, "logisticregression__C": C}

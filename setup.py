import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "rim_lensing" / "__init__.py").read_text())

setup(
    name="rim_lensing",
    version=VERSION.group(1),
    description="Reconstruct strongly lensed galaxies with Recurrent Inference Machines",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="rim_lensing developers",
    license="MIT",
    python_requires=">=3.11",
    # The zoo lives beside the package and is installed inside it.
    packages=[*find_packages(include=["rim_lensing", "rim_lensing.*"]), "rim_lensing.pretrained"],
    package_dir={"rim_lensing.pretrained": "pretrained"},
    package_data={
        "rim_lensing.pretrained": ["**/*"],
        "rim_lensing": ["py.typed"],
        "rim_lensing.demo": ["*.fits"],
        "rim_lensing.survey": ["index.html", "index.js"],
        "rim_lensing.simulation": ["validation_sets/*.json", "validation_sets/sky/*.json"],
    },
    install_requires=[
        "astropy>=6.0",
        "contourpy>=1.2",
        "corner>=2.2",
        "emcee>=3.1",
        "h5py>=3.10",
        "keras>=3.15",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pillow>=10.0",
        "pyyaml>=6.0",
        "scipy>=1.11",
        "sep>=1.2",
        "tensorflow>=2.18",
        "threadpoolctl>=3.1",
        "tqdm>=4.60",
    ],
    extras_require={
        # The gradient sampler; TensorFlow Probability imports tf-keras.
        "nuts": ["tensorflow-probability>=0.24", "tf-keras>=2.18"],
        # CHOLMOD for SemilinearInversion, many times faster than LAPACK; under the GPL.
        "sparse": ["cvxopt>=1.3"],
        "jax": ["jax>=0.4.35"],
        "survey": ["dask>=2026.1", "distributed>=2026.1", "psutil>=5.8", "pyarrow>=15.0"],
        # The non-uniform FFT of interferometric data.
        "visibilities": ["ducc0>=0.34"],
        # The site; lenstronomy for the cells of a tutorial.
        "docs": [
            "furo>=2024.8",
            "lenstronomy>=1.12",
            "myst-nb>=1.1",
            "sphinx>=7.4",
        ],
        "test": [
            "coolest>=0.1.9",
            "cvxopt>=1.3",
            "dask>=2026.1",
            "ducc0>=0.34",
            "jax>=0.4.35",
            "distributed>=2026.1",
            "hypothesis>=6.100",
            "joblib>=1.3",
            "lenstronomy>=1.12",
            "mpmath>=1.3",
            "mypy>=1.11",
            "psutil>=5.8",
            "pyarrow>=15.0",
            "pytest>=8.0",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "ruff>=0.9",
            "setuptools>=64",
            "tensorflow-probability>=0.24",
            "tf-keras>=2.18",
        ],
    },
    entry_points={"console_scripts": ["rim-lensing = rim_lensing.cli:main"]},
)

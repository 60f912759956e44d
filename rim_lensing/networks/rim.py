"""The Recurrent Inference Machine: the cell unrolled over T steps (paper section 2.1)."""

import keras
from keras import ops

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.from_inputs import model_of
from rim_lensing.forward_model.pixel_noise import without_templates
from rim_lensing.networks.flux_scale import estimate_flux_scale
from rim_lensing.networks.initial_source import dark, inverted
from rim_lensing.networks.portable import PortableNetwork
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.networks.rim_cell import RIMCell
from rim_lensing.networks.unseen_pixels import with_floor


@keras.saving.register_keras_serializable(package="rim_lensing")
class RIM(PortableNetwork):
    """Reconstructs the source of a lensed image, given the lens.

    Args:
        config: RIMConfig (see `presets`), or its dictionary.
        precision: dtype policy of the cell's layers, see `Recipe`; all else is float32.

    Call arguments:
        inputs: A dictionary of
            image: (batch, m, m), the observation;
            noise: (batch, m, m), rms in the same unit, infinite where masked;
            psf: (batch, k, k), normalised kernels; or, of visibilities,
            beam: dirty beams in flux per pixel, (batch, 2 m - 1, 2 m - 1), and perhaps
            primary_beam, (batch, m, m): image and noise are those of dirty images then, see
                `VisibilityModel`;
            lens: deflections of the rays, (batch, 2, m s, m s), or, in short, (batch, 7) or
                (batch, 8), see `RayTracer`;
            source_frame: optional, (batch, 3): where the source grid lies, lens by lens, see
                `RayTracer`;
            fine_psf: optional, kernels on the pixels of `lens`, which are maps then, o times as
                fine as the configuration's: the likelihood blurs with them, see `psf.Blur`;
            whitening: optional, of correlated noise and templates, see `PixelNoise`.

    Returns:
        (batch, T, n, n): the source after every step, in the image's unit.
    """

    def __init__(self, config: RIMConfig | dict, precision: str = "float32", **kwargs):
        """Create the cell."""
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.config = config if isinstance(config, RIMConfig) else RIMConfig.from_dict(config)
        self.precision = precision
        self.cell = RIMCell(self.config, precision, name="cell")

    def build(self, input_shape=None):
        """Create all weights: they depend on the configuration alone."""
        if not self.cell.built:
            self.cell.build()
        self.built = True

    def call(self, inputs, training=False):
        """Unroll the cell."""
        noise = inputs["noise"]
        # What is masked may hold anything, even NaN.
        image = ops.where(ops.isfinite(noise), inputs["image"], 0.0)
        model = model_of(inputs, self.config)
        scale = 1.0
        if self.config.flux_scale == "image":
            scale = ops.stop_gradient(estimate_flux_scale(image, noise))
        image, noise = image / scale, noise / scale

        whitening = inputs.get("whitening")

        def log_likelihood(source):
            return ops.sum(model.log_likelihood(source, image, noise, whitening))

        eta, extra = self._before_the_first_step(model, image, noise, whitening)
        states = self.cell.initial_state(ops.shape(image)[0], self.config.source_side)
        if not training:
            # In training their gradients would be as large as they are, in every step.
            extra["spectra"] = self.cell.spectra()
        sources = []
        for _ in range(self.config.steps):
            eta, states = self.cell(eta, states, log_likelihood=log_likelihood, **extra)
            sources.append(scale * ops.sigmoid(eta))
        return ops.stack(sources, axis=1)

    def _before_the_first_step(self, model, image, noise, whitening) -> tuple:
        """Return eta, and what the cell needs to bring the gradient to scale."""
        batch, n = ops.shape(image)[0], self.config.source_side
        weight, extra = 1 / noise**2, {}
        # How well a pixel is known by itself: templates take from what all say together.
        alone = without_templates(whitening)
        curvature = model.curvature(noise, alone)
        if self.config.likelihood_input == "preconditioned":
            extra["curvature"] = curvature
            if isinstance(model, ForwardModel):
                floor = with_floor(curvature, model, weight, alone is not None)
                extra["curvature"] = floor
        elif self.config.likelihood_input == "variance":
            extra["mean_variance"] = 1 / ops.mean(weight, axis=(1, 2), keepdims=True)
        if self.config.initial_source == "inverted":
            return inverted(model, image, noise, curvature, whitening), extra
        return dark(batch, n), extra

    def on_image_grid(self, image_side: int, image_pixel_scale: float) -> "RIM":
        """Return the same network, with the same weights, for images on other pixels.

        The network sees source-plane maps alone; image pixels enter through the likelihood. So its
        weights serve any image grid, as long as the source's pixel scale stays what it was
        trained on. How well they serve is to be measured: the noise per source pixel differs.
        """
        config = self.config.on_image_grid(image_side, image_pixel_scale)
        other = RIM(config, self.precision)
        other.build()
        other.set_weights(self.get_weights())
        return other

    def get_config(self) -> dict:
        """Return what __init__ needs."""
        more = {"config": self.config.to_dict(), "precision": self.precision}
        return super().get_config() | more

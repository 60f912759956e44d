"""A lens as a whole: named mass components, or deflections that are given. No Keras here.

Underneath, every lens is an array: parameters (batch, p), in the order of the mass model's names;
or maps (batch, 2, rows, columns) of given deflections. What reads the array is the mass model's
form, which has no values: it is what graphs are compiled for. All code asks `form.on_rays(array,
grid, supersampling)` for the deflections, and sees nothing else of the lens.
"""

import functools
from collections.abc import Mapping

import numpy as np

from rim_lensing.lensing.given_deflections import GIVEN, Deflections, GivenDeflections
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES, as_lens_array, repeat_lens
from rim_lensing.lensing.mass_components import COMPONENTS, EPL, SIE, Component, Parameter, Shear
from rim_lensing.notebooks import as_html


class MassModel:
    """A sum of named mass components.

    Args:
        components: By name, such as lens=EPL(theta_E=1.2, e1=0.1), shear=Shear(gamma1=0.03),
            perturber=SIS(theta_E=0.05, x=0.9, y=-0.4): the names are the user's, and the values are
            where a search starts.

    Raises:
        ValueError: No component, something that is none, or a name with a dot.

    Example:
        >>> lens = MassModel(lens=EPL(theta_E=1.2, e1=0.1), shear=Shear(gamma1=0.03))
        >>> lens.names
        ('lens.theta_E', 'lens.e1', 'lens.e2', 'lens.x', 'lens.y', 'lens.slope', 'shear.gamma1',
        'shear.gamma2')
        >>> model.reconstruct(image, noise=0.01, psf=0.07, lens=lens)
    """

    def __init__(self, **components: Component):
        """Check the components."""
        if not components or any(
            not isinstance(component, Component) or "." in name
            for name, component in components.items()
        ):
            raise ValueError(
                "A MassModel must have at least one component, each one of "
                f"{', '.join(COMPONENTS)}, under a name without a dot. Received: {components}"
            )
        self.components = components
        ends = np.cumsum([len(component.parameters()) for component in components.values()])
        self._columns = tuple(
            tuple(range(end - len(component.parameters()), end))
            for end, component in zip(ends.tolist(), components.values(), strict=True)
        )

    def __repr__(self) -> str:
        """Return the components with their values."""
        parts = [f"{name}={component}" for name, component in self.components.items()]
        return f"MassModel({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a row for each parameter."""
        rows = [
            [name, f"{value:.4f}", parameter.unit, parameter.meaning]
            for name, value, (_, parameter) in zip(
                self.names, self.values, self._in_order(), strict=True
            )
        ]
        kinds = {name: type(each).__name__ for name, each in self.components.items()}
        return as_html("MassModel", kinds, [["parameter", "value", "unit", "meaning"], *rows])

    def _key(self) -> tuple:
        return tuple(self.components.items()), self._columns

    def __eq__(self, other: object) -> bool:
        """Return whether components, names and values are the same."""
        return isinstance(other, MassModel) and self._key() == other._key()

    def __hash__(self) -> int:
        """Return that of components, names and values."""
        return hash(self._key())

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in the order of the vector's columns: "lens.theta_E" and so on."""
        return tuple(f"{component}.{parameter.name}" for component, parameter in self._in_order())

    @property
    def labels(self) -> tuple[str, ...]:
        """The names; of the short forms (see `SHORT_FORMS`) without the component's."""
        if self.form in SHORT_FORMS.values():
            return (*PARAMETER_NAMES, "slope")[: len(self.names)]
        return self.names

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What there is to know of each, in the order of the names."""
        return tuple(parameter for _, parameter in self._in_order())

    def _in_order(self) -> list[tuple[str, Parameter]]:
        """Return the component's name and the parameter of every column."""
        return [
            (name, self.components[name].parameters()[k])
            for _, name, k in sorted(
                (column, name, k)
                for (name, _), columns in self._by_component()
                for k, column in enumerate(columns)
            )
        ]

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Of the vector, by the component's name."""
        return dict(zip(self.components, self._columns, strict=True))

    def _by_component(self) -> zip:
        """Return (name, component) and its columns of the vector, one component after the other."""
        return zip(self.components.items(), self._columns, strict=True)

    @property
    def values(self) -> np.ndarray:
        """The vector, (p,)."""
        vector = np.empty(len(self.names))
        for (_, component), columns in self._by_component():
            vector[list(columns)] = component.values
        return vector

    @functools.cached_property
    def form(self) -> "MassModel":
        """The same components, with their default values."""
        return self._with({name: part.form for name, part in self.components.items()})

    def __getitem__(self, name: str) -> float:
        """Return the value of a parameter, such as "lens.theta_E"; raises as `index`."""
        return float(self.values[self.index(name)])

    def with_values(self, values) -> "MassModel":
        """Return the same components with the values of a vector (p,), such as a fit's `lens`.

        Raises:
            ValueError: Another number of values, or a value for which no formula holds.
        """
        values = np.asarray(values, "float64")
        if values.shape != (len(self.names),):
            raise ValueError(
                f"`values` must be {len(self.names)} numbers: {', '.join(self.names)}. "
                f"Received: shape {values.shape}"
            )
        return self._with(
            {
                name: component.with_values(values[list(columns)].tolist())
                for (name, component), columns in self._by_component()
            }
        )

    def _with(self, components: dict) -> "MassModel":
        other = MassModel(**components)
        other._columns = self._columns
        return other

    def index(self, name: str) -> int:
        """Return the column of a parameter: "lens.x", or "x" where one component alone has it.

        Raises:
            ValueError: There is none of this name, or more than one.
        """
        found = [i for i, full in enumerate(self.names) if name in (full, full.split(".")[-1])]
        if len(found) != 1:
            raise ValueError(
                f"There is {'more than one' if found else 'no'} parameter of this name: choose "
                f"from {', '.join(self.names)}. Received: {name!r}"
            )
        return found[0]

    def check(self, array: np.ndarray) -> None:
        """Raise ValueError for an array (batch, p) that no formula allows."""
        for (name, component), columns in self._by_component():
            component.check(array[:, list(columns)], name)

    def deflection(self, parameters, x, y):
        """Return the deflection angle (alpha_x, alpha_y), each (batch, rows, columns), in arcsec.

        Args:
            parameters: (batch, p), in the order of `names`; its dtype is that of the answer. Not
                checked. This object's own values are not looked at.
            x: (rows, columns) or (batch, rows, columns), arcsec.
            y: Like x.
        """
        from keras import ops

        parameters = ops.convert_to_tensor(parameters)
        x, y = ops.cast(x, parameters.dtype), ops.cast(y, parameters.dtype)
        parts = [
            component.deflection([parameters[:, i, None, None] for i in columns], x, y)
            for (_, component), columns in self._by_component()
        ]
        alpha_x, alpha_y = parts[0]
        for more_x, more_y in parts[1:]:
            alpha_x, alpha_y = alpha_x + more_x, alpha_y + more_y
        return alpha_x, alpha_y

    def on_rays(self, parameters, grid: PixelGrid, supersampling: int = 1, dtype: str = "float32"):
        """Return the deflections of the rays through an image's pixels.

        Args:
            parameters: (batch, p).
            grid: The image's pixels, m a side.
            supersampling: Rays per pixel along each axis, s.
            dtype: In which it computes.

        Returns:
            (batch, 2, m s, m s): alpha_x and alpha_y in arcsec; rows and columns of the rays.
        """
        from keras import ops

        from rim_lensing.backend import tensor

        parameters = tensor(parameters, dtype)
        x, y = grid.coordinates(supersampling)
        return ops.stack(self.deflection(parameters, x[None], y[None]), axis=1)

    def describe(self, values) -> dict[str, dict]:
        """Return kind and values of every component as JSON can hold them.

        Args:
            values: (p,).
        """
        return {
            name: {"kind": type(part).__name__}
            | ({"m": part.m} if hasattr(part, "m") else {})
            | dict(
                zip(
                    (parameter.name for parameter in part.parameters()),
                    np.asarray(values, "float64")[list(columns)].tolist(),
                    strict=True,
                )
            )
            for (name, part), columns in self._by_component()
        }

    @classmethod
    def from_description(cls, described: Mapping) -> "MassModel":
        """Return the mass model that `describe` gave, with its values.

        Raises:
            ValueError: It is something else.
        """
        try:
            return cls(
                **{
                    name: COMPONENTS[facts["kind"]](
                        **{key: value for key, value in facts.items() if key != "kind"}
                    )
                    for name, facts in described.items()
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                "A description of a mass model must have a kind, one of "
                f"{', '.join(COMPONENTS)}, and the parameters of each component. "
                f"Received: {described!r}"
            ) from error


Form = MassModel | GivenDeflections
"""What reads a lens's array."""


def _short_epl() -> MassModel:
    """Return the form of the 8 numbers, whose slope comes last."""
    form = MassModel(lens=EPL(), shear=Shear())
    form._columns = (0, 1, 2, 3, 4, 7), (5, 6)
    return form


SHORT_FORMS: dict[int, MassModel] = {7: MassModel(lens=SIE(), shear=Shear()), 8: _short_epl()}
"""Of arrays with 7 and 8 numbers a system, see `lens_parameters`."""


def form_of(lens: np.ndarray, form: Form | None = None) -> Form:
    """Return the form that reads an array of lenses: the one given, or a short form by its width.

    Args:
        lens: (..., p), or (batch, 2, rows, columns) of given deflections.
        form: None, or a short form, gives way to that of the array's width.
    """
    short = form is None or form in SHORT_FORMS.values()
    return SHORT_FORMS[lens.shape[-1]] if short else form


def describe_form(form: MassModel) -> int | dict:
    """Return a form as JSON can hold it: of the short ones the number of parameters."""
    short = form in SHORT_FORMS.values()
    return len(form.names) if short else form.form.describe(form.form.values)


def read_form(described: int | dict) -> MassModel:
    """Return the form that `describe_form` described.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(described, int) and described in SHORT_FORMS:
        return SHORT_FORMS[described]
    return MassModel.from_description(described).form


def first_columns(form: Form, kind: type[Component]) -> list[int]:
    """Return the columns of the first component of a kind; empty if there is none."""
    if isinstance(form, MassModel):
        for name, component in form.components.items():
            if isinstance(component, kind):
                return list(form.columns[name])
    return []


def as_lens(lens, batch: int | None = None, name: str = "lens") -> tuple[np.ndarray, Form]:
    """Return a lens of any accepted kind as an array, and the form that reads it.

    Args:
        lens: A MassModel, a sequence of them with the same components, Deflections, or what
            `as_lens_array` takes: LensParameters, a dictionary, 7 or 8 numbers.
        batch: Number of systems; one lens is repeated for all of them.
        name: Of the argument that the user gave, for messages.

    Returns:
        float32 array (batch, p) or (batch, 2, rows, columns), and its form.

    Raises:
        ValueError: It is none of these, or out of range; another number of systems; models of
            different components.
    """
    if isinstance(lens, Deflections):
        return repeat_lens(lens.maps, batch, name).astype("float32"), GIVEN
    models = list(lens) if isinstance(lens, list | tuple) else [lens]
    if not models or not isinstance(models[0], MassModel):
        array = as_lens_array(lens, batch, name)
        return array, SHORT_FORMS[array.shape[1]]
    forms = {model.form if isinstance(model, MassModel) else None for model in models}
    if len(forms) > 1:
        raise ValueError(
            f"`{name}` must be mass models of the same components, under the same names. "
            f"Received: {models}"
        )
    array = repeat_lens(np.stack([model.values for model in models]), batch, name)
    return array.astype("float32"), forms.pop()


def deflections_on_rays(lens, grid: PixelGrid, supersampling: int = 1, dtype: str = "float32"):
    """Return the deflections of rays, (batch, 2, m s, m s), see `MassModel.on_rays`.

    Args:
        lens: (batch, 7 or 8), a short form; or the deflections themselves, see `GivenDeflections`.
        grid: The image's pixels.
        supersampling: Rays per pixel along each axis.
        dtype: In which a short form computes.

    Raises:
        ValueError: `lens` has another shape.
    """
    shape = lens.shape
    if len(shape) == 4:
        return GIVEN.on_rays(lens, grid, supersampling)
    if len(shape) != 2 or shape[1] not in SHORT_FORMS:
        raise ValueError(
            "`lens` must be (batch, 7 or 8), or deflections (batch, 2, rows, columns), which other "
            f"mass models give by `on_rays`. Received: shape {tuple(shape)}"
        )
    return SHORT_FORMS[shape[1]].on_rays(lens, grid, supersampling, dtype)

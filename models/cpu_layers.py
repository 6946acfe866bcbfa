"""Convolutions, normalisation and pooling of maps [batch, channels, f, t] that train fast on a CPU.

The models are written with the layers of torch.nn; use_cpu_layers() replaces these by the ones in this file when a
model is built. On a CPU the maps lie channels last in memory: normalisation takes half the time, pooling a tenth of
it. Outputs and gradients are those of the plain layers up to rounding. On other devices, and where torch.compile
builds the model, the plain layers run.
"""

import re
from itertools import product

import torch
from torch import nn
from torch.nn.functional import conv2d, fold, max_pool2d, pad, unfold


def on_cpu(image):
    """Whether the layers of this file run on `image`. torch.compile would unroll their loops: it gets plain layers."""
    return image.device.type == "cpu" and image.dim() == 4 and not torch.compiler.is_compiling()


def overlap(size, shift):
    """Slices of the outputs and of the inputs that meet when output i takes input i + `shift`.

    `size` is (number of outputs, number of inputs).
    """
    outputs, inputs = size
    start = max(0, -shift)
    stop = min(outputs, inputs - shift)
    return slice(start, stop), slice(start + shift, stop + shift)


def weight_gradient(image, grad, kernel, padding):
    """Gradient [out, in, *kernel] of a convolution's weight, from its input and the gradient of its output.

    It is a sum of matrix products for each place of the kernel. For maps that lie channels last, oneDNN takes seven
    times as long, unless the processor has AVX-512, and is less exact.
    """
    image = image.permute(0, 2, 3, 1)  # [batch, f, t, channels]
    grad = grad.permute(0, 2, 3, 1)
    total = grad.new_zeros(*kernel, grad.shape[3], image.shape[3])
    for place in product(*map(range, kernel)):
        shifts = [at - margin for at, margin in zip(place, padding, strict=True)]
        (out_f, in_f), (out_t, in_t) = (overlap((grad.shape[i], image.shape[i]), shifts[i - 1]) for i in (1, 2))
        for x, g in zip(image[:, in_f, in_t], grad[:, out_f, out_t], strict=True):
            total[place] += (g.transpose(1, 2) @ x).sum(0)
    return total.permute(2, 3, 0, 1)


class ChannelsLast(torch.autograd.Function):
    """conv2d whose weight has the gradient that weight_gradient() computes."""

    @staticmethod
    def forward(ctx, image, weight, bias, padding):
        ctx.save_for_backward(image, weight)
        ctx.padding = padding
        return conv2d(image, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx, grad):
        image, weight = ctx.saved_tensors
        grad_image = grad_weight = None
        if ctx.needs_input_grad[0]:
            form = [weight.shape[0]], (1, 1), ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            grad_image = torch.ops.aten.convolution_backward(grad, image, weight, *form)[0]
        if ctx.needs_input_grad[1]:
            grad_weight = weight_gradient(image, grad, weight.shape[2:], ctx.padding)
        return grad_image, grad_weight, grad.sum((0, 2, 3)), None


def kernel_windows(image, kernel, padding):
    """What a kernel sees at each place of images [batch, 1, f, t], and a one for the bias: [batch, n + 1, places]."""
    return pad(unfold(image, kernel, padding=padding), (0, 0, 0, 1), value=1.0)


class OneChannel(torch.autograd.Function):
    """Images of one channel and weight [n + 1, out], the bias last -> [batch, places, out], by kernel_windows().

    The order of the products of the gradients takes a fifth of the time of autograd's. The windows are made again for
    the gradients: they take 26 times the memory of the image, too much to keep.
    """

    @staticmethod
    def forward(ctx, image, weight, kernel, padding):
        ctx.save_for_backward(image, weight)
        ctx.form = kernel, padding
        return kernel_windows(image, *ctx.form).transpose(1, 2) @ weight

    @staticmethod
    def backward(ctx, grad):
        image, weight = ctx.saved_tensors
        kernel, padding = ctx.form
        grad_image = None
        if ctx.needs_input_grad[0]:
            grad_patches = weight[:-1].expand(len(grad), -1, -1).bmm(grad.transpose(1, 2))
            grad_image = fold(grad_patches, image.shape[2:], kernel, padding=padding)
        return grad_image, kernel_windows(image, *ctx.form).bmm(grad).sum(0), None, None


class Conv2d(nn.Conv2d):
    """nn.Conv2d of stride 1 that gives maps channels last on a CPU."""

    def forward(self, image):
        if not on_cpu(image) or torch.is_autocast_enabled("cpu"):
            return super().forward(image)
        if self.in_channels == 1:
            return self.products(image)
        image = image.contiguous(memory_format=torch.channels_last)
        return ChannelsLast.apply(image, self.weight, self.bias, self.padding)

    def products(self, image):
        """The convolution of an image of one channel, as a product of matrices that adds the bias as well."""
        sizes = zip(image.shape[2:], self.padding, self.kernel_size, strict=True)
        size = [n + 2 * margin - kernel + 1 for n, margin, kernel in sizes]
        weight = torch.cat((self.weight.flatten(1).t(), self.bias[None]))
        out = OneChannel.apply(image, weight, self.kernel_size, self.padding)
        return out.unflatten(1, size).permute(0, 3, 1, 2)


def channel_moments(image, rows=8192):
    """Mean and variance [channels] of a map that lies channels last, in two passes over parts that fit the cache."""
    places = image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])
    mean = places.mean(0)
    return mean, sum((part - mean).square_().sum(0) for part in places.split(rows)) / len(places)


class Normalise(torch.autograd.Function):
    """Batch normalisation with moments that are given. The gradient is that of moments taken from the image itself."""

    @staticmethod
    def forward(ctx, image, weight, bias, mean, variance, eps):
        ctx.save_for_backward(image, weight, mean, torch.rsqrt(variance + eps))
        ctx.eps = eps
        return torch.native_batch_norm(image, weight, bias, mean, variance, False, 0.0, eps)[0]

    @staticmethod
    def backward(ctx, grad):
        image, weight, mean, scale = ctx.saved_tensors
        gradient = torch.ops.aten.native_batch_norm_backward
        wanted = ctx.needs_input_grad[0], weight is not None, weight is not None
        grads = gradient(grad, image, weight, None, None, mean, scale, True, ctx.eps, wanted)
        return *(part if want else None for part, want in zip(grads, wanted, strict=True)), None, None, None


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose moments are also exact for maps that lie channels last on a CPU.

    For such maps torch adds hundreds of thousands of squares in one float: the error is 1e-5 for normal data, and 0.03
    for the power of speech.
    """

    def forward(self, image):
        plain = not self.training or not on_cpu(image) or image.dtype != self.running_mean.dtype
        if plain or image.is_contiguous() or not image.is_contiguous(memory_format=torch.channels_last):
            return super().forward(image)
        with torch.no_grad():
            mean, variance = channel_moments(image)
            count = image.numel() // image.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return Normalise.apply(image, self.weight, self.bias, mean, variance, self.eps)


class Pool(torch.autograd.Function):
    """max_pool2d of maps that lie channels last. For the gradient it keeps one byte an output.

    The byte is the place of the maximum in its window, counted by rows: torch would keep the map and long indices.
    The clips are pooled one by one, so that few long indices exist at a time.
    """

    @staticmethod
    def forward(ctx, image, size):
        ctx.shape = image.shape
        ctx.size = size
        ctx.jump = image.shape[3] - size[1]
        clips = [Pool.with_places(ctx, clip) for clip in image.split(1)]
        pooled, places = (torch.cat(parts) for parts in zip(*clips, strict=True))
        ctx.save_for_backward(places)
        return pooled

    @staticmethod
    def backward(ctx, grad):
        whole = torch.empty(ctx.shape, dtype=grad.dtype, memory_format=torch.channels_last)
        form = ctx.size, ctx.size, (0, 0), (1, 1), False
        for clip, part, place in zip(*(each.split(1) for each in (whole, grad, *ctx.saved_tensors)), strict=True):
            index = (place // ctx.size[1]).long().mul_(ctx.jump).add_(place).add_(Pool.starts(ctx))
            clip.copy_(torch.ops.aten.max_pool2d_with_indices_backward(part, clip, *form, index))
        return whole, None

    @staticmethod
    def with_places(ctx, clip):
        """The maxima of a clip, and the place of each in its window."""
        pooled, index = max_pool2d(clip, ctx.size, return_indices=True)
        index = index.sub_(Pool.starts(ctx))  # row * t + column
        return pooled, index.sub_(index.div(ctx.shape[3], rounding_mode="floor").mul_(ctx.jump)).to(torch.uint8)

    @staticmethod
    def starts(ctx):
        """The index in an image [f, t] of the first place of each output's window."""
        f, t = ctx.shape[2:]
        rows, columns = ctx.size
        return torch.arange(f // rows)[:, None] * rows * t + torch.arange(t // columns) * columns


def sides(size):
    """(rows, columns) of a window whose size is given as torch.nn takes it: a pair, or one number for both."""
    return size if isinstance(size, tuple) else (size, size)


class MaxPool2d(nn.MaxPool2d):
    """nn.MaxPool2d of windows that do not overlap."""

    def forward(self, image):
        if not image.requires_grad or not on_cpu(image):
            return super().forward(image)
        return Pool.apply(image, sides(self.kernel_size))


# ---- replacing the plain layers --------------------------------------------------------------------------------------


def is_simple_convolution(layer):
    """Whether Conv2d of this file computes the same as `layer`, an nn.Conv2d."""
    one_step = layer.stride == layer.dilation == (1, 1) and layer.groups == 1
    return one_step and layer.bias is not None and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple)


def keeps_moving_averages(layer):
    """Whether BatchNorm2d of this file computes the same as `layer`, an nn.BatchNorm2d."""
    return layer.track_running_stats and layer.momentum is not None


def has_separate_windows(layer):
    """Whether MaxPool2d of this file computes the same as `layer`, an nn.MaxPool2d."""
    rows, columns = sides(layer.kernel_size)
    whole_windows = layer.padding == 0 and layer.dilation == 1 and not layer.ceil_mode and not layer.return_indices
    return layer.stride == layer.kernel_size and whole_windows and rows * columns <= 256  # Pool keeps a byte


# A plain layer -> the layer of this file, and when it can take the place
CPU_LAYERS = {
    nn.Conv2d: (Conv2d, is_simple_convolution),
    nn.BatchNorm2d: (BatchNorm2d, keeps_moving_averages),
    nn.MaxPool2d: (MaxPool2d, has_separate_windows),
}
# Convolutions that stay plain: those of W2V-AASIST's attention scores, whose maps are small. Their gradients would
# differ by rounding from those of the runs made so far.
STAYS_PLAIN = re.compile(r"(.+\.)?attention\.\d+$")


def use_cpu_layers(model):
    """Let the layers of `model` be those of this file, in place, where CPU_LAYERS says so; gives the model.

    Only the class of a layer changes: its parameters, buffers, hooks and its name in the state dict stay.
    """
    for name, layer in model.named_modules():
        cpu_layer, fits = CPU_LAYERS.get(type(layer), (None, None))
        stays = isinstance(layer, nn.Conv2d) and STAYS_PLAIN.match(name)
        if cpu_layer and fits(layer) and not stays:
            layer.__class__ = cpu_layer
    return model

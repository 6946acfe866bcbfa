"""Convolutions, normalisation and pooling of maps [batch, channels, f, t], quick to train on a CPU.

On a CPU the maps lie channels last in memory, where normalisation takes half the time and pooling a tenth of it. The
gradients are those of the plain layers; on other devices, and where torch.compile builds the model, these run.
"""

from itertools import product

import torch
from torch import nn
from torch.nn.functional import conv2d, fold, max_pool2d, pad, unfold


def on_cpu(image):
    """Whether the layers for a CPU are to run on `image`. torch.compile unrolls their loops: it gets the plain ones."""
    return image.device.type == "cpu" and not torch.compiler.is_compiling()


def overlap(size, shift):
    """Slices of outputs and of inputs, of which there are `size`, where the inputs `shift` further on exist."""
    outputs, inputs = size
    start, stop = max(0, -shift), min(outputs, inputs - shift)
    return slice(start, stop), slice(start + shift, stop + shift)


def weight_gradient(image, grad, kernel, padding):
    """Gradient [out, in, *kernel] of a convolution's weight, of its input and the gradient of its output.

    A sum of matrix products for each place of the kernel. oneDNN takes seven times as long for maps that lie channels
    last, unless the processor has AVX-512, and is less exact.
    """
    image, grad = image.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)  # [batch, f, t, channels]
    total = grad.new_zeros(*kernel, grad.shape[3], image.shape[3])
    for place in product(*map(range, kernel)):
        shifts = [at - margin for at, margin in zip(place, padding, strict=True)]
        (out_f, in_f), (out_t, in_t) = (overlap((grad.shape[i], image.shape[i]), shifts[i - 1]) for i in (1, 2))
        for x, g in zip(image[:, in_f, in_t], grad[:, out_f, out_t], strict=True):
            total[place] += (g.transpose(1, 2) @ x).sum(0)
    return total.permute(2, 3, 0, 1)


class ChannelsLast(torch.autograd.Function):
    """conv2d with the gradient of the weight by weight_gradient."""

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


def patches_of(image, kernel, padding):
    """What a kernel sees at each place of images [batch, 1, f, t], and a one for the bias: [batch, n + 1, places]."""
    return pad(unfold(image, kernel, padding=padding), (0, 0, 0, 1), value=1.0)


class OneChannel(torch.autograd.Function):
    """Images of one channel and weight [n + 1, out], the bias last -> [batch, places, out]: products with patches_of.

    The gradients are products in the order that takes a fifth of the time of autograd's. Patches are made again for
    them: 26 times the image would be too much to keep.
    """

    @staticmethod
    def forward(ctx, image, weight, kernel, padding):
        ctx.save_for_backward(image, weight)
        ctx.form = kernel, padding
        return patches_of(image, *ctx.form).transpose(1, 2) @ weight

    @staticmethod
    def backward(ctx, grad):
        image, weight = ctx.saved_tensors
        kernel, padding = ctx.form
        grad_image = None
        if ctx.needs_input_grad[0]:
            grad_patches = weight[:-1].expand(len(grad), -1, -1).bmm(grad.transpose(1, 2))
            grad_image = fold(grad_patches, image.shape[2:], kernel, padding=padding)
        return grad_image, patches_of(image, *ctx.form).bmm(grad).sum(0), None, None


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


def moments(image, rows=8192):
    """Mean and variance [channels] of a map that lies channels last, in two passes over parts that fit the cache."""
    places = image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])
    mean = places.mean(0)
    return mean, sum((part - mean).square_().sum(0) for part in places.split(rows)) / len(places)


class Normalise(torch.autograd.Function):
    """Batch normalisation with given moments that came of the image itself, and are no variables of their own."""

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
    """nn.BatchNorm2d whose moments are exact for maps that lie channels last on a CPU, too.

    There torch adds up hundreds of thousands of squares in one float: an error of 1e-5 for normal data, 0.03 for power.
    """

    def forward(self, image):
        plain = not self.training or not on_cpu(image) or image.dtype != self.running_mean.dtype
        if plain or image.is_contiguous() or not image.is_contiguous(memory_format=torch.channels_last):
            return super().forward(image)
        with torch.no_grad():
            mean, variance = moments(image)
            count = image.numel() // image.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return Normalise.apply(image, self.weight, self.bias, mean, variance, self.eps)


class Pool(torch.autograd.Function):
    """max_pool2d of maps that lie channels last, which keeps a byte for an output: neither the maps nor long indices.

    The byte counts the places of a window by rows. Clip by clip, the long indices stay few.
    """

    @staticmethod
    def forward(ctx, image, size):
        ctx.shape, ctx.size, ctx.jump = image.shape, size, image.shape[3] - size[1]
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
        """A clip's maxima, and where each is in its window."""
        pooled, index = max_pool2d(clip, ctx.size, return_indices=True)
        index = index.sub_(Pool.starts(ctx))  # row * t + column
        return pooled, index.sub_(index.div(ctx.shape[3], rounding_mode="floor").mul_(ctx.jump)).to(torch.uint8)

    @staticmethod
    def starts(ctx):
        """Index in an image [f, t] of the first place of the window that each output is of."""
        (f, t), (rows, columns) = ctx.shape[2:], ctx.size
        return torch.arange(f // rows)[:, None] * rows * t + torch.arange(t // columns) * columns


class MaxPool(nn.Module):
    """The largest of every window of `size` (f, t), which do not overlap; what is left over at the end counts not."""

    def __init__(self, *size):
        super().__init__()
        self.size = size

    def forward(self, image):
        return Pool.apply(image, self.size) if image.requires_grad and on_cpu(image) else max_pool2d(image, self.size)

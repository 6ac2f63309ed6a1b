#pragma once
// The one umbrella include of LibTorch, precompiled and shared by every layer above. ivalue.h comes first: clang
// rejects the headers over libstdc++ 12 otherwise (a vector of an incomplete type).

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

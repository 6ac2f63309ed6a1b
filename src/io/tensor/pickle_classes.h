#pragma once
// What the names of classes and functions in a pickle mean to this program. Names are compared, never looked up or
// called.

#include <optional>
#include <string>
#include <string_view>

namespace lacuna {

enum class PickleClass {
  kOther,  // no meaning: what is made of it is opaque
  kDict,   // OrderedDict and Counter, made of a dictionary or of pairs
  kDefaultDict,
  kSet,
  kList,  // TorchScript's typed lists
  kNamespace,
  kTensor,  // torch._utils._rebuild_tensor, _v2
  kTensorV3,
  kParameter,
  kTensorSubclass,  // torch._tensor._rebuild_from_type_v2
  kTyped,           // torch.jit._pickle.restore_type_tag
  kUnreadTensor,    // quantised, sparse, nested, on the meta device …
  kStorage,
  kScalarType,  // torch.float32 …
  kDevice,
  kNumpyScalar,
  kNumpyType,
  kNumpyArray,
  kEncode,  // _codecs.encode: how protocol 2 writes bytes
  kPath,
  kReconstructor,  // copyreg._reconstructor: makes an object of a class in protocols before 2
};

// `module.name` as a GLOBAL of a pickle gives it.
PickleClass pickle_class(std::string_view module, std::string_view name);

// What Python would run on opening a file that holds this name, if that is code of the attacker's choice:
// "posix.system".
std::optional<std::string> runs_code(std::string_view module, std::string_view name);

}  // namespace lacuna

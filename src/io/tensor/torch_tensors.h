#pragma once
// Tensors as the pickles of torch describe them: a storage, an offset, sizes and strides.

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "io/tensor/pickle.h"
#include "io/tensor/tensor_file.h"
#include "io/tensor/zip.h"

namespace lacuna {

// Why a tensor is left out, in words.
struct Unread {
  std::string reason;
};

class TorchTensors {
 public:
  // Storages are the entries `folder` + key. Scattered tensors are copied while `copy_budget` bytes last.
  TorchTensors(const ZipArchive& archive, std::string folder, std::string file, std::uint64_t copy_budget)
      : archive_(archive), folder_(std::move(folder)), file_(std::move(file)), copy_budget_(copy_budget) {}

  // True if the value is a tensor, in whatever it is wrapped.
  static bool is_tensor(const PickleValue& value);

  // `name` is for messages. Error if storage, offset, sizes and strides do not fit together.
  std::variant<TensorInfo, Unread> read(const PickleValue& value, const std::string& name);

  // The copies that were made; what read() gave points into them.
  std::vector<std::shared_ptr<const void>>& copies() { return copies_; }

 private:
  std::variant<TensorInfo, Unread> rebuild(PickleClass how, const PickleValue::Items& arguments,
                                           const std::string& name, int depth);
  std::variant<TensorInfo, Unread> from_storage(const PickleValue::Items& arguments, const PickleValue* scalar_type,
                                                const std::string& name);
  std::span<const std::byte> storage(const PickleValue& id, std::uint64_t element, const std::string& name) const;
  std::span<const std::byte> gather(std::span<const std::byte> storage, const TensorInfo& tensor,
                                    const std::vector<std::int64_t>& strides, const std::string& name);
  template <class... Parts>
  [[noreturn]] void refuse(const std::string& name, const Parts&... parts) const;

  const ZipArchive& archive_;
  std::string folder_, file_;
  std::uint64_t copy_budget_;
  std::vector<std::shared_ptr<const void>> copies_;
};

}  // namespace lacuna

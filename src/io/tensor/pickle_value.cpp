#include "io/tensor/pickle.h"

namespace lacuna {

PickleClass PickleValue::made_by() const {
  return is(Kind::kObject) && items[0]->is(Kind::kGlobal) ? items[0]->meaning : PickleClass::kOther;
}

std::string PickleValue::class_name() const {
  const PickleValue* named = this;
  for (int depth = 0; named->is(Kind::kObject) && depth < 8; ++depth) named = named->items[0];
  if (!named->is(Kind::kGlobal)) return "an object that makes objects";
  return std::string(named->bytes) + "." + std::string(named->name);
}

const PickleValue::Items& PickleValue::arguments() const {
  static const Items kNoItems;
  return is(Kind::kObject) ? items[1]->items : kNoItems;
}

const PickleValue* PickleValue::find(std::string_view key) const {
  if (!is(Kind::kDict)) return nullptr;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i]->is(Kind::kText) && items[i]->bytes == key) return items[i + 1];
  }
  return nullptr;
}

}  // namespace lacuna

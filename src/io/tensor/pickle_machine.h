#pragma once
// What a pickle works on while it is read: its bytes, the stack with its marks, the memo, and the count of what has
// been made. Internal to io/tensor/pickle.

#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/tensor/pickle.h"

namespace lacuna {

class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, std::string where, std::deque<PickleValue>& values)
      : bytes_(bytes), where_(std::move(where)), values_(values) {}

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail_data(where_, ": not a pickle that can be read: ", parts..., " (byte ", start_, ")");
  }

  // The code of the next operation; counts it. Faults from here on name its place.
  std::uint8_t next_operation();
  std::size_t rest() const { return bytes_.size() - at_; }
  const std::string& where() const { return where_; }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view take(std::uint64_t size);
  std::string_view line();  // without its end
  // A line that is a place in the memo.
  std::size_t place_in_line();

  PickleValue* make(PickleValue::Kind kind);
  // Adds items to a value; all that were ever added are counted.
  template <class Items>
  void give(PickleValue& to, const Items& items) {
    count_items(items.size());
    to.items.insert(to.items.end(), items.begin(), items.end());
  }

  void push(PickleValue* value) { stack_.push_back(value); }
  PickleValue* pop();
  PickleValue* top();
  void mark() { marks_.push_back(stack_.size()); }
  bool mark_is_on_top() const { return !marks_.empty() && marks_.back() == stack_.size(); }
  std::vector<PickleValue*> pop_to_mark();
  // The one value that is left at the end.
  const PickleValue* result();

  void store(std::size_t place);
  void store_next() { store(memo_.size()); }
  void fetch(std::size_t place);

 private:
  void count_items(std::size_t count);

  std::span<const std::byte> bytes_;
  std::string where_;
  std::deque<PickleValue>& values_;
  std::size_t at_ = 0, start_ = 0, operations_ = 0, items_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::vector<PickleValue*> memo_;
};

}  // namespace lacuna

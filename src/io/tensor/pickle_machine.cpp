#include "io/tensor/pickle_machine.h"

#include <algorithm>
#include <charconv>

#include "io/files.h"

namespace lacuna {
namespace {

// A training state of 130,000 tensors fits; a hostile pickle cannot ask for more than some hundred megabytes.
constexpr std::size_t kMaxOperations = 8'000'000, kMaxValues = 2'000'000, kMaxMemo = 8'000'000;
constexpr std::size_t kMaxItems = 16'000'000;  // of all lists and dictionaries together
constexpr std::size_t kMaxLine = 1024;

}  // namespace

std::uint8_t PickleMachine::next_operation() {
  start_ = at_;
  if (++operations_ > kMaxOperations) refuse("it has more than ", kMaxOperations, " operations");
  if (rest() == 0) refuse("expected another operation, found the end");
  return number<std::uint8_t>();
}

std::string_view PickleMachine::take(std::uint64_t size) {
  if (size > rest()) refuse("expected ", size, " more bytes, found ", rest());
  const auto part = bytes_.subspan(at_, size);
  at_ += size;
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

std::string_view PickleMachine::line() {
  const std::size_t room = std::min(rest(), kMaxLine);
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, room);
  const std::size_t length = text.find('\n');
  if (length == std::string_view::npos) refuse("expected the end of a line within ", kMaxLine, " bytes");
  at_ += length + 1;
  return text.substr(0, length);
}

std::size_t PickleMachine::place_in_line() {
  const std::string_view digits = line();
  std::size_t place = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), place);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size())
    refuse("expected a place in the memo, found '", printable(digits, 40), "'");
  return place;
}

PickleValue* PickleMachine::make(PickleValue::Kind kind) {
  if (values_.size() == kMaxValues) refuse("it holds more than ", kMaxValues, " values");
  values_.emplace_back().kind = kind;
  return &values_.back();
}

PickleValue* PickleMachine::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("it takes a value where there is none");
  return stack_.back();
}

PickleValue* PickleMachine::pop() {
  PickleValue* value = top();
  stack_.pop_back();
  return value;
}

void PickleMachine::count_items(std::size_t count) {
  items_ += count;
  if (items_ > kMaxItems) refuse("its lists and dictionaries have more than ", kMaxItems, " items");
}

std::vector<PickleValue*> PickleMachine::pop_to_mark() {
  if (marks_.empty()) refuse("it goes back to a mark where there is none");
  const std::size_t mark = marks_.back();
  marks_.pop_back();
  std::vector<PickleValue*> out(stack_.begin() + static_cast<std::ptrdiff_t>(mark), stack_.end());
  stack_.resize(mark);
  return out;
}

const PickleValue* PickleMachine::result() {
  if (rest() != 0) refuse("expected its end, found ", rest(), " more bytes");
  if (!marks_.empty() || stack_.size() != 1) refuse("expected one value at the end, found ", stack_.size());
  return stack_.back();
}

void PickleMachine::store(std::size_t place) {
  PickleValue* value = top();
  if (place >= kMaxMemo) refuse("expected a place in the memo below ", kMaxMemo, ", found ", place);
  if (place >= memo_.size()) memo_.resize(place + 1);
  memo_[place] = value;
}

void PickleMachine::fetch(std::size_t place) {
  if (place >= memo_.size() || memo_[place] == nullptr) refuse("nothing was put at place ", place, " of the memo");
  push(memo_[place]);
}

}  // namespace lacuna

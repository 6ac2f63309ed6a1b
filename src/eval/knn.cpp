#include "eval/knn.h"

#include <algorithm>

#include "base/error.h"
#include "nn/layers.h"

namespace lacuna {
namespace {

constexpr std::int64_t kTopFew = 5;

// Rising index within equal similarities: sorted by index first, then stably by similarity.
Neighbors ordered(const at::Tensor& similarity, const at::Tensor& index) {
  const auto [by_index, place] = at::sort(index, /*stable=*/true, /*dim=*/1, /*descending=*/false);
  const auto [falling, order] = at::sort(similarity.gather(1, place), /*stable=*/true, /*dim=*/1, /*descending=*/true);
  return {falling, by_index.gather(1, order)};
}

// Rows in which topk had to choose among equals for its last places.
at::Tensor cut_ties(const at::Tensor& all, const at::Tensor& best) {
  const at::Tensor last = best.narrow(1, best.size(1) - 1, 1);
  return at::nonzero(all.eq(last).sum(1).ne(best.eq(last).sum(1))).squeeze(1);
}

void check_setting(const KnnConfig& config, std::int64_t k, std::int64_t rows) {
  check(k > 0, "knn.k: expected at least 1 neighbour, found ", k);
  check(k <= rows, "knn.k is ", k, ", but the training data have only ", rows,
        " samples; choose a smaller k or more data");
  check(config.temperature > 0, "knn.temperature: expected a positive number, found ", config.temperature);
  check(config.chunk_bytes > 0, "knn.chunk_bytes: expected a positive number, found ", config.chunk_bytes);
}

}  // namespace

void KnnConfig::fields(Fields& f) {
  f.add("k", k, {.help = "neighbours that vote", .min = 1, .max = 100000});
  f.add("temperature", temperature, {.help = "a vote weighs exp(cosine / temperature)", .min = 0, .above_min = true});
}

Neighbors nearest_rows(const at::Tensor& train, const at::Tensor& queries, std::int64_t k) {
  invariant(k > 0 && k <= train.size(0), "k nearest of fewer rows");
  const at::Tensor all = queries.matmul(train.t());  // [n,m]
  auto [best, index] = at::topk(all, k, 1);
  // topk keeps any of the rows that are equal at the k-th place; a full stable sort of those rows, few in practice,
  // keeps the first.
  const at::Tensor rows = cut_ties(all, best);
  if (rows.size(0) > 0) {
    const auto [falling, order] = at::sort(all.index_select(0, rows), /*stable=*/true, /*dim=*/1, /*descending=*/true);
    best.index_copy_(0, rows, falling.narrow(1, 0, k));
    index.index_copy_(0, rows, order.narrow(1, 0, k));
  }
  return ordered(best, index);
}

at::Tensor class_votes(const Neighbors& neighbors, const at::Tensor& train_labels, std::int64_t classes,
                       double temperature) {
  const at::Tensor similarity = neighbors.similarity.to(at::kDouble);
  const at::Tensor weights = ((similarity - similarity.narrow(1, 0, 1)) / temperature).exp();
  const at::Tensor labels = train_labels.index_select(0, neighbors.index.flatten()).view_as(neighbors.index);
  return at::zeros({similarity.size(0), classes}, similarity.options()).scatter_add_(1, labels, weights);
}

Accuracy knn_accuracy(const Features& train, const Features& val, const KnnConfig& config,
                      const EvalProgress& progress) {
  return knn_accuracies(train, val, std::span(&config.k, 1), config, progress).front();
}

std::vector<Accuracy> knn_accuracies(const Features& train, const Features& val, std::span<const std::int64_t> ks,
                                     const KnnConfig& config, const EvalProgress& progress) {
  check_comparable(train, val);
  invariant(!ks.empty(), "k-NN without any k");
  for (const std::int64_t k : ks) check_setting(config, k, train.values.size(0));
  const c10::InferenceMode no_graph;
  const at::Tensor memory = unit_length(train.values.to(config.device));
  const auto classes = static_cast<std::int64_t>(train.classes.size());
  const std::int64_t n = val.values.size(0), largest = *std::max_element(ks.begin(), ks.end());
  const std::int64_t chunk = std::max<std::int64_t>(1, config.chunk_bytes / (memory.size(0) * memory.element_size()));

  std::vector<std::vector<at::Tensor>> places(ks.size());
  for (std::int64_t begin = 0; begin < n; begin += chunk) {
    const std::int64_t rows = std::min(chunk, n - begin);
    const at::Tensor queries = unit_length(val.values.narrow(0, begin, rows).to(config.device));
    const at::Tensor labels = val.labels.narrow(0, begin, rows);
    const Neighbors found = nearest_rows(memory, queries, largest);
    const Neighbors nearest{found.similarity.cpu(), found.index.cpu()};  // sums on a GPU would depend on its scheduling
    for (std::size_t i = 0; i < ks.size(); ++i) {
      const Neighbors first{nearest.similarity.narrow(1, 0, ks[i]), nearest.index.narrow(1, 0, ks[i])};
      places[i].push_back(places_of(class_votes(first, train.labels, classes, config.temperature), labels));
    }
    if (progress) progress(begin + rows, n);
  }
  std::vector<Accuracy> out;
  for (std::size_t i = 0; i < ks.size(); ++i) {
    out.push_back(accuracy_of(at::cat(places[i]), std::min(kTopFew, ks[i])));
  }
  return out;
}

}  // namespace lacuna

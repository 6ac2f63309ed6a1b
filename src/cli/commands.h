#pragma once
// The commands of the program. Each takes its arguments and returns the exit code; faults are thrown.

#include <span>
#include <string>

namespace lacuna {

using Arguments = std::span<const std::string>;

int pretrain_command(Arguments arguments);
int resume_command(Arguments arguments);
int plan_command(Arguments arguments);
int eval_command(Arguments arguments);
int embed_command(Arguments arguments);
int export_command(Arguments arguments);
int inspect_command(Arguments arguments);
int compare_command(Arguments arguments);
int tokenizer_command(Arguments arguments);
int methods_command(Arguments arguments);
int config_command(Arguments arguments);
int doctor_command(Arguments arguments);
int trace_command(Arguments arguments);
int data_command(Arguments arguments);
int demo_command(Arguments arguments);

std::string eval_keys();       // the keys of eval, as a table
std::string embed_keys();      // of embed
std::string export_keys();     // of export
std::string inspect_keys();    // of inspect
std::string compare_keys();    // of compare
std::string tokenizer_keys();  // of tokenizer train
std::string data_keys();       // of data check and data pack
std::string trace_keys();      // of trace.KEY

}  // namespace lacuna

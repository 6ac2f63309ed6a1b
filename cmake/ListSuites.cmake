# Writes ${OUT}, a ctest file with one test for each suite of the GoogleTest program ${PROGRAM}. Run as a script.
#
# A suite, not each of its tests, is a process: starting one over LibTorch takes longer than most tests. A test that needs
# a process of its own has a suite of its own.
execute_process(COMMAND ${PROGRAM} --gtest_list_tests OUTPUT_VARIABLE listed RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${PROGRAM} --gtest_list_tests failed: ${failed}")
endif()
string(REGEX MATCHALL "(^|\n)[^ \n][^ \n]*\\." suites "${listed}")
set(lines "")
foreach(suite IN LISTS suites)
  string(STRIP "${suite}" suite)
  string(REGEX REPLACE "\\.$" "" name "${suite}")
  string(APPEND lines "add_test([=[${LABEL}.${name}]=] [=[${PROGRAM}]=] [=[--gtest_filter=${suite}*]=])\n"
         "set_tests_properties([=[${LABEL}.${name}]=] PROPERTIES TIMEOUT 1800 LABELS ${LABEL} "
         "ENVIRONMENT [=[OMP_NUM_THREADS=2;LACUNA_BIN=${BINARY}]=])\n")
endforeach()
file(WRITE ${OUT} "${lines}")

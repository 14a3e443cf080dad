// What a user program includes.
#pragma once

#include "tweedie/cli/run_cli.h"
#include "tweedie/jobs/evaluate.h"
#include "tweedie/jobs/sample.h"
#include "tweedie/jobs/train.h"
#include "tweedie/model/objective.h"
#include "tweedie/model/vlb.h"
#include "tweedie/process/custom.h"
#include "tweedie/process/path.h"
#include "tweedie/process/posterior.h"
#include "tweedie/registry.h"
#include "tweedie/samplers/ddim.h"
#include "tweedie/samplers/ddpm.h"

"""What phones print, in the formats of Android's services; used by the tests of the probes."""

BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: false
  Wireless powered: false
  Dock powered: false
  Max charging current: 0
  Max charging voltage: 5000000
  Charge counter: 2085000
  status: 3
  health: 2
  present: true
  level: 75
  scale: 100
  voltage: 4021
  temperature: 312
  technology: Li-ion
"""
BATTERY_USB = BATTERY.replace("USB powered: false", "USB powered: true").replace("status: 3", "status: 2")
BATTERY_FROZEN = BATTERY.replace("state:\n", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n")

THERMAL_PIXEL = """\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 2
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 5
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=41.5, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
\tTemperature{mValue=27.9, mType=2, mName=battery, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=32.100002, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
\tTemperature{mValue=29.4, mType=2, mName=battery, mStatus=0}
\tTemperature{mValue=48.0, mType=0, mName=BIG, mStatus=0}
\tTemperature{mValue=5000.0, mType=7, mName=batoilo, mStatus=0}
\tTemperature{mValue=75.0, mType=8, mName=soc, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
\tTemperatureThreshold{type=SKIN, name=VIRTUAL-SKIN, hotThrottlingThresholds=[NaN, 39.0, 41.0, 43.0, 45.0, 47.0, 55.0]}
"""
THERMAL_SAMSUNG = """\
IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}
\tTemperature{mValue=38.1, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=32.2, mType=2, mName=BAT, mStatus=0}
\tTemperature{mValue=0.0, mType=4, mName=USB, mStatus=0}
\tTemperature{mValue=38.0, mType=3, mName=SKIN, mStatus=1}
HAL Ready: true
Current temperatures from HAL:
"""
THERMAL_OFF_BY_ONE = """\
Thermal Status: 0
Current temperatures from HAL:
\tTemperature{mValue=24.0, mType=1, mName=TYPE_CPU, mStatus=0}
\tTemperature{mValue=24.4, mType=3, mName=TYPE_BATTERY, mStatus=0}
\tTemperature{mValue=25.3, mType=4, mName=TYPE_SKIN, mStatus=0}
\tTemperature{mValue=-99.9, mType=6, mName=TYPE_POWER_AMPLIFIER, mStatus=0}
"""

RAILS = """\

============= PowerStats HAL 2.0 energy meter ==============
                           Channel    Cumulative Energy
            [S10M_VDD_TPU]:Tensor          {tpu:.2f} mWs
          [VSYS_PWR_MODEM]:Cellular       29110.94 mWs
            [S2M_VDD_CPUCL2]:CPU          {big:.2f} mWs
            [S4M_VDD_CPUCL0]:CPU          46356.94 mWs
               [S5M_VDD_INT]:SoC          10771.88 mWs
               [S1M_VDD_MIF]:Memory          21091.36 mWs
               [S9S_VDD_AOC]:AOC-Logic          900.00 mWs
         [L2S_VDD_AOC_RET]:AOC-Memory          90.00 mWs
     [PPVAR_VSYS_PWR_DISP]:Display          {display:.2f} mWs
               [S2S_VDD_G3D]:GPU             77.00 mWs (12.00)
========== End of PowerStats HAL 2.0 energy meter ==========
"""

MEMINFO = """\
Applications Memory Usage (in Kilobytes):
Uptime: 1234567 Realtime: 2345678

** MEMINFO in pid 4321 [org.example.app] **
                   Pss  Private  Private  SwapPss      Rss     Heap     Heap     Heap
                 Total    Dirty    Clean    Dirty    Total     Size    Alloc     Free
                ------   ------   ------   ------   ------   ------   ------   ------
  Native Heap    40960    40900        0       10    42000    60000    41000     9000
        TOTAL    81920    70000     5000       10   120000    66000    45000    12000

 App Summary
                       Pss(KB)                        Rss(KB)
                        ------                         ------
           TOTAL PSS:    81920            TOTAL RSS:   120000       TOTAL SWAP PSS:       10
"""
